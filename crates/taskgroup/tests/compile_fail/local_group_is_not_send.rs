use taskgroup::LocalGroup;

#[tokio::main]
async fn main() {
    let _ = tokio::spawn(async {
        let group: LocalGroup = LocalGroup::new();
        group.spawn(async { Ok(()) });
        group.join().await
    })
    .await;
}
