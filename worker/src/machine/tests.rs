//! The machine on real engines: what it loads, and what outlives its GPU.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use potluck_engine::engine::{BackendChoice, Output};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Synthetic, config};
use potluck_net::platform::BlobCache;
use potluck_net::weights::Patience;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;
use potluck_protocol::sampling::Sampling;

use super::bench::Bench;
use super::downloads::Part;
use super::engine::Loaded;
use super::recovery::MAX_LOSSES;
use super::*;
use crate::failure::{LoadFailure, StepFailure};
use crate::node::{StepInput, StepRequest};

const LAYERS: u32 = 3;

/// A model whose blobs lie in a cache; there is no server.
fn cached() -> (Synthetic, tempfile::TempDir) {
    let model = Synthetic::new(config(LAYERS, 64, 96, (4, 2, 16), 99, 64), 3);
    let folder = tempfile::tempdir().unwrap();
    for (role, blob) in model.manifest.blobs_for(0..LAYERS) {
        std::fs::write(folder.path().join(blob.hash.to_string()), model.blob(role)).unwrap();
    }
    (model, folder)
}

/// A bench that holds the model, or none where there is no adapter.
async fn holding(
    model: &Synthetic,
    folder: &tempfile::TempDir,
    backend: BackendPreference,
) -> Option<Bench> {
    let patience = Patience { breaks: 1, ..Patience::default() };
    let store = WeightStore::new(BlobCache::new(folder.path())).with_patience(patience);
    let mut bench = Bench::new(Arc::new(store), "http://127.0.0.1:9".to_owned());
    bench.perform(Job::Start(backend)).await;
    match bench.events.pop_front() {
        Some(MachineEvent::EngineReady(_)) => {}
        Some(MachineEvent::EngineFailed { reason }) => {
            let required = std::env::var("POTLUCK_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!required, "POTLUCK_REQUIRE_GPU=1, but: {reason}");
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        other => panic!("{other:?}"),
    }
    bench.perform(Job::Expect(ModelId([7; 32]))).await;
    for (role, _) in model.manifest.blobs_for(0..LAYERS) {
        bench.perform(Job::Load(part(model, 7, role))).await;
        let event = bench.events.pop_front();
        assert!(matches!(event, Some(MachineEvent::Loaded { result: Ok(()), .. })), "{event:?}");
    }
    Some(bench)
}

fn session(id: u128) -> SessionId {
    SessionId(id.to_be_bytes())
}

/// Computes a step, and leaves other events where they are.
async fn compute(
    bench: &mut Bench,
    id: u128,
    position: u32,
    tokens: &[u32],
) -> Result<Output, StepFailure> {
    // A penalty for what the step says: the same tokens from whatever computes it.
    let sampling = Some(Sampling {
        temperature_milli: 800,
        top_k: 0,
        top_p_milli: 1000,
        repetition_penalty_milli: 1200,
        seed: 4,
    });
    let seen = Some(Arc::new(tokens.iter().copied().collect()));
    let rows = u32::try_from(tokens.len()).unwrap();
    let input = StepInput::Tokens(tokens.to_vec());
    let step = StepRequest { session: session(id), position, rows, input, sampling, seen };
    bench.compute(vec![step]).await;
    let Some(MachineEvent::Computed(result)) = bench.events.pop_back() else {
        panic!("{:?}", bench.events)
    };
    result.output
}

async fn step(bench: &mut Bench, id: u128, position: u32, tokens: &[u32]) -> Output {
    compute(bench, id, position, tokens).await.unwrap()
}

/// Tokens sampled by a machine whose GPU is lost before each step but the first, with a session
/// that is opened on a lost one.
async fn sampled(bench: &mut Bench, lose: impl Fn(&mut Loaded)) -> Vec<Output> {
    let layers = LayerRange::new(0, LAYERS).unwrap();
    bench.perform(Job::OpenSession(session(1), layers, None)).await;
    let mut sampled = vec![step(bench, 1, 0, &[5, 6, 7]).await];
    lose(bench.engine.as_mut().unwrap());
    sampled.push(step(bench, 1, 3, &[8]).await);
    lose(bench.engine.as_mut().unwrap());
    bench.perform(Job::OpenSession(session(2), layers, None)).await;
    sampled.push(step(bench, 2, 0, &[9]).await);
    sampled.push(step(bench, 1, 4, &[10, 11]).await);
    sampled
}

#[tokio::test]
async fn answers_outlive_the_gpu_on_another_or_on_the_processor() {
    let (model, folder) = cached();
    let mut cpu = holding(&model, &folder, BackendPreference::Cpu).await.unwrap();
    let expected = sampled(&mut cpu, |_| ()).await;
    for choice in [BackendChoice::Gpu, BackendChoice::Auto] {
        let Some(mut bench) = holding(&model, &folder, BackendPreference::Gpu).await else {
            return;
        };
        bench.engine.as_mut().unwrap().choice = choice;
        assert_eq!(
            sampled(&mut bench, |loaded| loaded.engine.lose_gpu()).await,
            expected,
            "{choice:?}"
        );
        let Some(event) = bench.events.pop_front() else { panic!("nobody was told") };
        let MachineEvent::EngineReplaced(engine) = event else { panic!("{event:?}") };
        assert!(choice == BackendChoice::Auto || engine.backend == "vulkan", "{engine:?}");
    }
}

#[tokio::test]
async fn weights_that_cannot_be_had_again_are_tried_again() {
    let (model, folder) = cached();
    let mut cpu = holding(&model, &folder, BackendPreference::Cpu).await.unwrap();
    let expected = sampled(&mut cpu, |_| ()).await;
    let Some(mut bench) = holding(&model, &folder, BackendPreference::Gpu).await else {
        return;
    };
    let layers = LayerRange::new(0, LAYERS).unwrap();
    bench.perform(Job::OpenSession(session(1), layers, None)).await;
    assert_eq!(step(&mut bench, 1, 0, &[5, 6, 7]).await, expected[0]);
    // The cache has lost a layer, and there is no server.
    let blob = folder.path().join(model.manifest.layer_blobs[1].hash.to_string());
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    bench.engine.as_mut().unwrap().engine.lose_gpu();
    for _ in 0..2 {
        let failed = compute(&mut bench, 1, 3, &[8]).await.map_err(|error| error.to_string());
        assert!(failed.unwrap_err().contains("could not fetch"), "it says what it lacks");
    }
    std::fs::write(&blob, bytes).unwrap();
    assert_eq!(step(&mut bench, 1, 3, &[8]).await, expected[1], "nothing was lost meanwhile");
}

#[tokio::test]
async fn a_gpu_that_is_lost_again_and_again_is_given_up() {
    let (model, folder) = cached();
    for (choice, survives) in [(BackendChoice::Gpu, false), (BackendChoice::Auto, true)] {
        let Some(mut bench) = holding(&model, &folder, BackendPreference::Gpu).await else {
            return;
        };
        let layers = LayerRange::new(0, LAYERS).unwrap();
        bench.perform(Job::OpenSession(session(1), layers, None)).await;
        step(&mut bench, 1, 0, &[5]).await;
        let loaded = bench.engine.as_mut().unwrap();
        (loaded.choice, loaded.losses) = (choice, MAX_LOSSES);
        loaded.engine.lose_gpu();
        let step = StepRequest {
            session: session(1),
            position: 1,
            rows: 1,
            input: StepInput::Tokens(vec![6]),
            sampling: None,
            seen: None,
        };
        bench.perform(Job::Compute(vec![step])).await;
        let is_end = |event: &MachineEvent| matches!(event, MachineEvent::EngineFailed { .. });
        assert_eq!(bench.events.iter().any(is_end), !survives, "{:?}", bench.events);
        let backend = bench.engine.as_ref().map(|loaded| loaded.engine.backend().kind);
        assert!(survives == backend.is_some_and(|kind| kind != "vulkan"), "{backend:?}");
    }
}

/// A model's part, as it comes from a download.
fn part(model: &Synthetic, id: u8, role: BlobRole) -> Part {
    let manifest = Arc::new(model.manifest.clone());
    let bytes = model.blob(role).to_vec();
    Part { model: ModelId([id; 32]), manifest, role, bytes }
}

/// A bench with a CPU engine that fetches parts of the model of this id.
async fn fetching(id: u8, folder: &tempfile::TempDir) -> Bench {
    let store = WeightStore::new(BlobCache::new(folder.path()));
    let mut bench = Bench::new(Arc::new(store), String::new());
    bench.perform(Job::Start(BackendPreference::Cpu)).await;
    bench.perform(Job::Expect(ModelId([id; 32]))).await;
    bench.events.clear();
    bench
}

fn held(bench: &Bench) -> Vec<BlobRole> {
    bench.engine.as_ref().unwrap().engine.held()
}

#[tokio::test]
async fn a_layer_of_another_model_of_the_same_name_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let shape = config(LAYERS, 64, 96, (4, 2, 16), 99, 64);
    let (old, new) = (Synthetic::new(shape.clone(), 3), Synthetic::new(shape, 4));
    assert_eq!(old.manifest.name, new.manifest.name);
    let mut bench = fetching(1, &folder).await;
    bench.load(part(&old, 1, BlobRole::Layer(0))).await;
    bench.engine.as_mut().unwrap().expect(ModelId([2; 32]));
    bench.load(part(&new, 2, BlobRole::Layer(1))).await;
    // This one was under way when the assignment changed.
    bench.load(part(&old, 1, BlobRole::Layer(2))).await;
    bench.load(part(&new, 2, BlobRole::Tables)).await;
    assert_eq!(held(&bench), [BlobRole::Tables, BlobRole::Layer(1)]);
}

#[tokio::test]
async fn layers_do_not_meet_another_models_tables_when_their_own_were_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shape = config(LAYERS, 64, 96, (4, 2, 16), 99, 64);
    let (old, new) = (Synthetic::new(shape.clone(), 3), Synthetic::new(shape, 4));
    let mut bench = fetching(1, &folder).await;
    bench.load(part(&old, 1, BlobRole::Tables)).await;
    bench.engine.as_mut().unwrap().expect(ModelId([2; 32]));
    bench.events.clear();
    let mut broken = part(&new, 2, BlobRole::Tables);
    broken.bytes.pop();
    bench.load(broken).await;
    let refused = bench.events.pop_front();
    assert!(
        matches!(refused, Some(MachineEvent::Loaded { result: Err(LoadFailure::Refused(_)), .. })),
        "{refused:?}"
    );
    bench.load(part(&new, 2, BlobRole::Layer(0))).await;
    assert_eq!(held(&bench), [BlobRole::Tables], "the layer waits");
    bench.load(part(&new, 2, BlobRole::Tables)).await;
    assert_eq!(held(&bench), [BlobRole::Tables, BlobRole::Layer(0)]);
}

#[tokio::test]
async fn a_gpu_that_is_lost_while_a_part_is_loaded_is_replaced_at_once() {
    let (model, folder) = cached();
    let Some(mut bench) = holding(&model, &folder, BackendPreference::Gpu).await else {
        return;
    };
    let loaded = bench.engine.as_mut().unwrap();
    loaded.choice = BackendChoice::Auto;
    loaded.engine.unload(BlobRole::Layer(1));
    loaded.engine.lose_gpu();
    bench.load(part(&model, 7, BlobRole::Layer(1))).await;
    let events: Vec<MachineEvent> = bench.events.drain(..).collect();
    assert!(
        matches!(
            events[..],
            [MachineEvent::EngineReplaced(_), MachineEvent::Loaded { result: Ok(()), .. }]
        ),
        "{events:?}"
    );
    assert_eq!(held(&bench).len(), 2 + usize::try_from(LAYERS).unwrap() + 1);
}

/// The next event that is no progress.
async fn next_event(machine: &mut Machine) -> MachineEvent {
    loop {
        let event = machine.next_event().await;
        if !is_beside(&event) {
            return event;
        }
    }
}

/// What may come at any time: of downloads, and of what this machine remembers.
fn is_beside(event: &MachineEvent) -> bool {
    matches!(event, MachineEvent::Progress { .. } | MachineEvent::KeptBudget { .. })
}

#[tokio::test]
async fn an_engine_starts_loads_and_computes_beside_whoever_waits_for_it() {
    let (model, folder) = cached();
    let mut machine = Machine::new(WeightStore::new(BlobCache::new(folder.path())));
    machine.perform(Action::StartEngine { backend: BackendPreference::Cpu });
    let event = machine.next_event().now_or_never();
    let is_remembered = matches!(event, Some(MachineEvent::KeptBudget { .. }));
    assert!(event.is_none() || is_remembered, "nobody is kept waiting");
    let event = next_event(&mut machine).await;
    assert!(matches!(event, MachineEvent::EngineReady(_)), "{event:?}");
    let (manifest, id) = (Arc::new(model.manifest.clone()), ModelId([7; 32]));
    for (role, blob) in manifest.blobs_for(0..LAYERS) {
        let manifest = Arc::clone(&manifest);
        machine.perform(Action::FetchBlob { model: id, manifest, role, blob, may_download: true });
    }
    for _ in manifest.blobs_for(0..LAYERS) {
        let event = next_event(&mut machine).await;
        assert!(matches!(event, MachineEvent::Loaded { result: Ok(()), .. }), "{event:?}");
    }
    let layers = LayerRange::new(0, LAYERS).unwrap();
    machine.perform(Action::OpenSession { session: session(1), layers, continues: None });
    for position in 0..2 {
        let input = StepInput::Tokens(vec![5]);
        let (session, sampling, seen) = (session(1), None, None);
        let step = StepRequest { session, position, rows: 1, input, sampling, seen };
        machine.perform(Action::Compute(step));
    }
    for position in 0..2 {
        // A batch waits for an engine that has nothing else to do.
        while machine.computes_at(Duration::ZERO).is_none() {
            let event = machine.next_event().now_or_never();
            assert!(event.as_ref().is_none_or(is_beside), "{event:?}");
            tokio::task::yield_now().await;
        }
        machine.compute(Duration::ZERO);
        let event = next_event(&mut machine).await;
        let MachineEvent::Computed(result) = event else { panic!("{event:?}") };
        assert!(result.position == position && result.output.is_ok(), "{result:?}");
    }
}

#[tokio::test]
async fn an_engine_that_gives_a_share_of_its_time_rests_and_a_stop_does_not_wait_for_it() {
    let (model, folder) = cached();
    let mut machine = Machine::new(WeightStore::new(BlobCache::new(folder.path())));
    machine.perform(Action::StartEngine { backend: BackendPreference::Cpu });
    machine.perform(Action::SetShare { percent: 10 });
    let (manifest, id) = (Arc::new(model.manifest.clone()), ModelId([7; 32]));
    let blobs = manifest.blobs_for(0..LAYERS);
    for (role, blob) in blobs.clone() {
        let manifest = Arc::clone(&manifest);
        machine.perform(Action::FetchBlob { model: id, manifest, role, blob, may_download: false });
    }
    for _ in 0..=blobs.len() {
        next_event(&mut machine).await;
    }
    let layers = LayerRange::new(0, LAYERS).unwrap();
    machine.perform(Action::OpenSession { session: session(1), layers, continues: None });
    let step = |position| {
        let input = StepInput::Tokens(vec![5]);
        StepRequest { session: session(1), position, rows: 1, input, sampling: None, seen: None }
    };
    machine.perform(Action::Compute(step(0)));
    machine.perform(Action::Compute(step(1)));
    while machine.computes_at(Duration::ZERO).is_none() {
        let event = machine.next_event().now_or_never();
        assert!(event.as_ref().is_none_or(is_beside), "{event:?}");
        tokio::task::yield_now().await;
    }
    machine.compute(Duration::ZERO);
    let MachineEvent::Computed(first) = next_event(&mut machine).await else { panic!() };
    // Of the time that it took and rests for, it computes a tenth.
    let now = Duration::from_secs(1);
    let rested = machine.computes_at(now).unwrap();
    assert_eq!(rested, now + 9 * first.elapsed);
    machine.compute(now);
    assert_eq!(machine.computes_at(now), Some(rested), "nothing has begun");
    machine.perform(Action::StopEngine);
    assert!(machine.jobs.is_none() && machine.computes_at(rested).is_none());
}

#[tokio::test]
async fn after_a_stop_nothing_comes_of_an_engine_that_was_starting_or_of_its_downloads() {
    let (model, folder) = cached();
    let mut machine = Machine::new(WeightStore::new(BlobCache::new(folder.path())));
    machine.perform(Action::StartEngine { backend: BackendPreference::Cpu });
    let manifest = Arc::new(model.manifest.clone());
    let (role, blob) = manifest.blobs_for(0..LAYERS)[0];
    let model = ModelId([7; 32]);
    machine.perform(Action::FetchBlob { model, manifest, role, blob, may_download: true });
    machine.perform(Action::StopEngine);
    assert!(machine.jobs.is_none() && machine.downloads.is_idle());
    // Another start has its own events only, and one engine at a time.
    machine.perform(Action::StartEngine { backend: BackendPreference::Cpu });
    let event = next_event(&mut machine).await;
    assert!(matches!(event, MachineEvent::EngineReady(_)), "{event:?}");
    let event = machine.next_event().now_or_never();
    assert!(event.as_ref().is_none_or(is_beside), "{event:?}");
}

#[tokio::test]
async fn a_download_is_cancelled_alone_and_two_who_want_the_same_get_one() {
    let (model, folder) = cached();
    let mut machine = Machine::new(WeightStore::new(BlobCache::new(folder.path())));
    let blob = model.manifest.blobs_for(0..LAYERS)[0].1;
    for _ in 0..2 {
        machine.perform(Action::FetchManifest { model: ModelId([1; 32]) });
        machine.perform(Action::FetchTokenizer { model: ModelId([1; 32]), blob });
    }
    machine.perform(Action::CancelManifest { model: ModelId([1; 32]) });
    let event = machine.next_event().await;
    assert!(matches!(event, MachineEvent::Tokenizer { .. }), "{event:?}");
    assert!(machine.downloads.is_idle());
    assert!(machine.next_event().now_or_never().is_none());
}
