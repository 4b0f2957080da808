//! While the server stands still, because its virtual machine moves or its laptop sleeps, nobody can
//! be heard: afterwards everybody is still there.

mod support;

use std::time::Duration;

use potluck_protocol::server::{FromServer, ToServer};
use support::{Member, Running};

#[test]
fn a_pause_of_the_server_ends_nobody() -> anyhow::Result<()> {
    let silence_tick = Duration::from_millis(100);
    // One thread for the server, so that it can be held up, and one for its members.
    let runtime = |name: &str| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name(name).enable_all().build()
    };
    let (servers, members) = (runtime("server")?, runtime("members")?);
    // Its tasks are spawned where it starts.
    let server = servers.block_on(Running::start_with(|config| {
        config.timeouts.silence_tick = silence_tick;
    }))?;
    let mut member = members.block_on(Member::join(&server, 1))?;
    // Ten times as long as silence may last. The member says nothing meanwhile, as its own words
    // would be held up too.
    let pause = 40 * silence_tick;
    servers.block_on(async { tokio::spawn(async move { std::thread::sleep(pause) }).await })?;
    members.block_on(async {
        member.send(&ToServer::Heartbeat).await;
        assert_eq!(member.receive().await, FromServer::Heartbeat);
        assert_eq!(member.register().await.len(), member.models[0].layers);
    });
    drop(servers);
    Ok(())
}
