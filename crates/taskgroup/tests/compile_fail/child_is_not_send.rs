use std::rc::Rc;

use taskgroup::TaskGroup;

#[tokio::main]
async fn main() {
    let group: TaskGroup = TaskGroup::new();
    group.spawn(async {
        let local = Rc::new(1);
        tokio::task::yield_now().await;
        Ok(*local)
    });
}
