use std::rc::Rc;
use taskgroup::SendLocalGroup;

fn main() {
    let group: SendLocalGroup = SendLocalGroup::new();
    let count = Rc::new(1);
    group.spawn(async move { Ok(*count) });
}
