//! x
/// x
#[derive(Debug, clap::Args)]
pub struct Arguments {}
/// x
pub async fn run(_: Arguments, _: &mut dyn std::io::Write) -> anyhow::Result<bool> {
    Ok(true)
}
