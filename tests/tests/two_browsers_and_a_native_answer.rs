//! A browser on WebGPU, a browser on the CPU and a native node hold the model together; the answer
//! is the specification's, bit for bit.

use e2e::browser::{Graphics, is_available};
use e2e::question::Question;
use e2e::swarm::Swarm;
use potluck_protocol::server::NodeKind;

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_and_a_native_answer() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("two_browsers_and_a_native_answer").await?;
    swarm.add_native(&["--backend", "cpu"])?;
    swarm.add_lending_browser(Graphics::Software, "?backend=gpu").await?;
    swarm.add_lending_browser(Graphics::Machine, "?backend=cpu").await?;
    let view = swarm.serving(3).await?;

    let backends: Vec<_> = view
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Browser)
        .map(|node| node.backend.clone())
        .collect();
    assert_eq!(backends.len(), 2, "{view:?}");
    assert!(backends.iter().any(|backend| *backend == "webgpu"), "{backends:?}");
    assert!(backends.iter().any(|backend| *backend == "simd128"), "{backends:?}");

    let question = Question::new("Tell me a story about a fox and a lantern.", 11).at_most(64);
    let reference = swarm.reference_answer(&question).await?;
    let answer = swarm.ask(&question).await?;
    assert_eq!(answer.text, reference.text);
    assert_eq!(answer.token_ids, reference.token_ids);
    assert_eq!(answer.stages.len(), 3, "all three take part: {:?}", answer.stages);

    // Each page draws whom it is connected to. No relay is needed on one machine.
    for browser in &swarm.browsers {
        browser.wait_for_text("legend-direct", |text| text.contains("directly")).await?;
        browser.wait_for_text("swarm-table", |text| text.contains("to you directly")).await?;
        assert_eq!(browser.text("legend-relayed").await?, None);
    }
    Ok(())
}
