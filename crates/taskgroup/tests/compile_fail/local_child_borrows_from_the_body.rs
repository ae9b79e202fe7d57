use taskgroup::{LocalGroup, local_scope};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _ = local_scope(async |group: &LocalGroup| {
        let text = String::from("the body's own");
        group.spawn(async {
            println!("{}", &text);
            Ok(())
        });
        Ok(())
    })
    .await;
}
