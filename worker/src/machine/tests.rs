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

use super::downloads::Part;
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

/// A machine that holds the model, or none where there is no adapter.
async fn holding(
    model: &Synthetic,
    folder: &tempfile::TempDir,
    backend: BackendPreference,
) -> Option<Machine> {
    let patience = Patience { breaks: 1, ..Patience::default() };
    let store = WeightStore::new(BlobCache::new(folder.path())).with_patience(patience);
    let mut machine = Machine::new(store);
    machine.set_server("http://127.0.0.1:9");
    machine.perform(Action::StartEngine { backend }).await;
    match machine.events.pop_front() {
        Some(MachineEvent::EngineReady(_)) => {}
        Some(MachineEvent::EngineFailed { reason }) => {
            let required = std::env::var("POTLUCK_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!required, "POTLUCK_REQUIRE_GPU=1, but: {reason}");
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        other => panic!("{other:?}"),
    }
    let manifest = Arc::new(model.manifest.clone());
    for (role, blob) in manifest.blobs_for(0..LAYERS) {
        let model = ModelId([7; 32]);
        machine
            .perform(Action::FetchBlob { model, manifest: Arc::clone(&manifest), role, blob })
            .await;
        let mut event = next_event(&mut machine).await;
        while matches!(event, MachineEvent::Progress { .. }) {
            event = next_event(&mut machine).await;
        }
        assert!(matches!(event, MachineEvent::Loaded { result: Ok(()), .. }), "{event:?}");
    }
    Some(machine)
}

async fn next_event(machine: &mut Machine) -> MachineEvent {
    loop {
        if let Some(event) = machine.events.pop_front() {
            return event;
        }
        let finished = machine.next_finished().await;
        machine.finish(finished).await;
    }
}

fn session(id: u128) -> SessionId {
    SessionId(id.to_be_bytes())
}

/// Computes a step, and leaves other events where they are.
async fn compute(
    machine: &mut Machine,
    id: u128,
    position: u32,
    tokens: &[u32],
) -> Result<Output, StepFailure> {
    let sampling = Some(Sampling { temperature_milli: 800, top_k: 0, top_p_milli: 1000, seed: 4 });
    let rows = u32::try_from(tokens.len()).unwrap();
    let input = StepInput::Tokens(tokens.to_vec());
    let step = StepRequest { session: session(id), position, rows, input, sampling };
    machine.perform(Action::Compute(step)).await;
    machine.compute_next().await;
    let Some(MachineEvent::Computed(result)) = machine.events.pop_back() else {
        panic!("{:?}", machine.events)
    };
    assert!(!machine.has_steps());
    result.output
}

async fn step(machine: &mut Machine, id: u128, position: u32, tokens: &[u32]) -> Output {
    compute(machine, id, position, tokens).await.unwrap()
}

/// Tokens sampled by a machine whose GPU is lost before each step but the first, with a session
/// that is opened on a lost one.
async fn sampled(machine: &mut Machine, lose: impl Fn(&mut Loaded)) -> Vec<Output> {
    let layers = LayerRange::new(0, LAYERS).unwrap();
    machine.perform(Action::OpenSession { session: session(1), layers }).await;
    let mut sampled = vec![step(machine, 1, 0, &[5, 6, 7]).await];
    lose(machine.engine.as_mut().unwrap());
    sampled.push(step(machine, 1, 3, &[8]).await);
    lose(machine.engine.as_mut().unwrap());
    machine.perform(Action::OpenSession { session: session(2), layers }).await;
    sampled.push(step(machine, 2, 0, &[9]).await);
    sampled.push(step(machine, 1, 4, &[10, 11]).await);
    sampled
}

#[tokio::test]
async fn answers_outlive_the_gpu_on_another_or_on_the_processor() {
    let (model, folder) = cached();
    let mut cpu = holding(&model, &folder, BackendPreference::Cpu).await.unwrap();
    let expected = sampled(&mut cpu, |_| ()).await;
    for choice in [BackendChoice::Gpu, BackendChoice::Auto] {
        let Some(mut machine) = holding(&model, &folder, BackendPreference::Gpu).await else {
            return;
        };
        machine.engine.as_mut().unwrap().choice = choice;
        assert_eq!(
            sampled(&mut machine, |loaded| loaded.engine.lose_gpu()).await,
            expected,
            "{choice:?}"
        );
        let Some(event) = machine.events.pop_front() else { panic!("nobody was told") };
        let MachineEvent::EngineReplaced(engine) = event else { panic!("{event:?}") };
        assert!(choice == BackendChoice::Auto || engine.backend == "vulkan", "{engine:?}");
    }
}

#[tokio::test]
async fn weights_that_cannot_be_had_again_are_tried_again() {
    let (model, folder) = cached();
    let mut cpu = holding(&model, &folder, BackendPreference::Cpu).await.unwrap();
    let expected = sampled(&mut cpu, |_| ()).await;
    let Some(mut machine) = holding(&model, &folder, BackendPreference::Gpu).await else {
        return;
    };
    let layers = LayerRange::new(0, LAYERS).unwrap();
    machine.perform(Action::OpenSession { session: session(1), layers }).await;
    assert_eq!(step(&mut machine, 1, 0, &[5, 6, 7]).await, expected[0]);
    // The cache has lost a layer, and there is no server.
    let blob = folder.path().join(model.manifest.layer_blobs[1].hash.to_string());
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    machine.engine.as_mut().unwrap().engine.lose_gpu();
    for _ in 0..2 {
        let failed = compute(&mut machine, 1, 3, &[8]).await.map_err(|error| error.to_string());
        assert!(failed.unwrap_err().contains("could not fetch"), "it says what it lacks");
    }
    std::fs::write(&blob, bytes).unwrap();
    assert_eq!(step(&mut machine, 1, 3, &[8]).await, expected[1], "nothing was lost meanwhile");
}

#[tokio::test]
async fn a_gpu_that_is_lost_again_and_again_is_given_up() {
    let (model, folder) = cached();
    for (choice, survives) in [(BackendChoice::Gpu, false), (BackendChoice::Auto, true)] {
        let Some(mut machine) = holding(&model, &folder, BackendPreference::Gpu).await else {
            return;
        };
        let layers = LayerRange::new(0, LAYERS).unwrap();
        machine.perform(Action::OpenSession { session: session(1), layers }).await;
        step(&mut machine, 1, 0, &[5]).await;
        let loaded = machine.engine.as_mut().unwrap();
        (loaded.choice, loaded.losses) = (choice, MAX_LOSSES);
        loaded.engine.lose_gpu();
        let output = compute(&mut machine, 1, 1, &[6]).await;
        assert_eq!(output.is_ok(), survives, "{choice:?}: {output:?}");
        let backend = machine.engine.as_ref().unwrap().engine.backend();
        assert_eq!(backend.kind == "vulkan", !survives, "{backend:?}");
    }
}

/// A model's part, as it comes from a download.
fn part(model: &Synthetic, id: u8, role: BlobRole) -> Part {
    let manifest = Arc::new(model.manifest.clone());
    let bytes = model.blob(role).to_vec();
    Part { model: ModelId([id; 32]), manifest, role, bytes }
}

/// A machine with a CPU engine that fetches parts of the model of this id.
async fn fetching(id: u8, folder: &tempfile::TempDir) -> Machine {
    let mut machine = Machine::new(WeightStore::new(BlobCache::new(folder.path())));
    machine.perform(Action::StartEngine { backend: BackendPreference::Cpu }).await;
    machine.engine.as_mut().unwrap().fetch(ModelId([id; 32]));
    machine.events.clear();
    machine
}

fn held(machine: &Machine) -> Vec<BlobRole> {
    machine.engine.as_ref().unwrap().engine.held()
}

#[tokio::test]
async fn a_layer_of_another_model_of_the_same_name_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let shape = config(LAYERS, 64, 96, (4, 2, 16), 99, 64);
    let (old, new) = (Synthetic::new(shape, 3), Synthetic::new(shape, 4));
    assert_eq!(old.manifest.name, new.manifest.name);
    let mut machine = fetching(1, &folder).await;
    machine.load(part(&old, 1, BlobRole::Layer(0))).await;
    machine.engine.as_mut().unwrap().fetch(ModelId([2; 32]));
    machine.load(part(&new, 2, BlobRole::Layer(1))).await;
    // This one was under way when the assignment changed.
    machine.load(part(&old, 1, BlobRole::Layer(2))).await;
    machine.load(part(&new, 2, BlobRole::Tables)).await;
    assert_eq!(held(&machine), [BlobRole::Tables, BlobRole::Layer(1)]);
}

#[tokio::test]
async fn layers_do_not_meet_another_models_tables_when_their_own_were_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shape = config(LAYERS, 64, 96, (4, 2, 16), 99, 64);
    let (old, new) = (Synthetic::new(shape, 3), Synthetic::new(shape, 4));
    let mut machine = fetching(1, &folder).await;
    machine.load(part(&old, 1, BlobRole::Tables)).await;
    machine.engine.as_mut().unwrap().fetch(ModelId([2; 32]));
    machine.events.clear();
    let mut broken = part(&new, 2, BlobRole::Tables);
    broken.bytes.pop();
    machine.load(broken).await;
    let refused = machine.events.pop_front();
    assert!(
        matches!(refused, Some(MachineEvent::Loaded { result: Err(LoadFailure::Refused(_)), .. })),
        "{refused:?}"
    );
    machine.load(part(&new, 2, BlobRole::Layer(0))).await;
    assert_eq!(held(&machine), [BlobRole::Tables], "the layer waits");
    machine.load(part(&new, 2, BlobRole::Tables)).await;
    assert_eq!(held(&machine), [BlobRole::Tables, BlobRole::Layer(0)]);
}

#[tokio::test]
async fn a_gpu_that_is_lost_while_a_part_is_loaded_is_replaced_at_once() {
    let (model, folder) = cached();
    let Some(mut machine) = holding(&model, &folder, BackendPreference::Gpu).await else {
        return;
    };
    let loaded = machine.engine.as_mut().unwrap();
    loaded.choice = BackendChoice::Auto;
    loaded.engine.unload(BlobRole::Layer(1));
    loaded.engine.lose_gpu();
    machine.load(part(&model, 7, BlobRole::Layer(1))).await;
    let events: Vec<MachineEvent> = machine.events.drain(..).collect();
    assert!(
        matches!(
            events[..],
            [MachineEvent::EngineReplaced(_), MachineEvent::Loaded { result: Ok(()), .. }]
        ),
        "{events:?}"
    );
    assert_eq!(held(&machine).len(), 2 + usize::try_from(LAYERS).unwrap() + 1);
}
