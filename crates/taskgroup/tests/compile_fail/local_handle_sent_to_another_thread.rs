use taskgroup::LocalGroup;

fn main() {
    let group: LocalGroup = LocalGroup::new();
    let task = group.spawn(async { Ok(5) });
    std::thread::spawn(move || task.is_finished());
}
