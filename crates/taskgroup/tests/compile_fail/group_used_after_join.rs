use taskgroup::TaskGroup;

#[tokio::main]
async fn main() {
    let group: TaskGroup = TaskGroup::new();
    let _ = group.join().await;
    group.spawn(async { Ok(()) });
}
