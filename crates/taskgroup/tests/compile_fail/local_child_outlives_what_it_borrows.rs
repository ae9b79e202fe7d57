use taskgroup::LocalGroup;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let group: LocalGroup = LocalGroup::new();
    {
        let text = String::from("short");
        group.spawn(async {
            println!("{}", &text);
            Ok(())
        });
    }
    let _ = group.join().await;
}
