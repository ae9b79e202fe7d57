use taskgroup::{TaskGroup, scope};

#[tokio::main]
async fn main() {
    let text = String::from("local");
    let _ = scope(async |tg: &TaskGroup| {
        tg.spawn(async {
            println!("{}", &text);
            Ok(())
        });
        Ok(())
    })
    .await;
}
