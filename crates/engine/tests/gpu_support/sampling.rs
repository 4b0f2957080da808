//! Tokens sampled on a GPU are those that the sampler takes from the same logits: of many rows at
//! once, peaked ones and flat ones, of which no few tokens tell enough.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use potluck_engine::cpu;
use potluck_engine::engine::{Output, OutputRequest};
use potluck_engine::gpu::{Gpu, SessionRows};
use potluck_engine::kernels::linear::CpuPath;
use potluck_engine::sampler::sample;
use potluck_model::synthetic::{Random, config};
use potluck_protocol::sampling::Sampling;

use super::gpu_support::{Reference, hidden};

/// More than the kernel's workgroups take at once.
const VOCAB: u32 = 20_011;
const WIDTH: u32 = 64;
/// Rows that a call samples from, at most.
const SESSIONS: u128 = 16;

pub(crate) async fn tokens_are_the_samplers(gpu: &mut Gpu) {
    let mut reference = Reference::new(config(1, WIDTH, 96, (2, 1, 32), VOCAB, 100), 5);
    reference.load(gpu);
    let config = reference.config().clone();
    let head =
        cpu::Head::new(CpuPath::Scalar, reference.tables.last_norm.clone(), reference.head.clone());
    let mut random = Random::new(17);
    for turn in 0..6 {
        let mut given = Vec::new();
        for session in 0..SESSIONS {
            gpu.close_session(session);
            gpu.open_session(session, 0..1).unwrap();
            // In the odd turns single rows, as answers are; else some of a prompt, which have to be
            // picked.
            let rows = if turn % 2 == 1 { 1 } else { random.within(1, 3).unsigned_abs() };
            let sampling = Sampling {
                temperature_milli: [0, 1, 300, 800, 3_000, 1_000_000]
                    [random.within(0, 5).unsigned_abs() as usize],
                top_k: [0, 0, 1, 40, 1024, 5000][random.within(0, 5).unsigned_abs() as usize],
                top_p_milli: [950, 1000, 500][random.within(0, 2).unsigned_abs() as usize],
                repetition_penalty_milli: 1000,
                seed: u64::from(random.within(0, 1 << 20).unsigned_abs()),
            };
            let want = if random.within(0, 7) == 0 {
                OutputRequest::Logits
            } else {
                OutputRequest::Token(sampling)
            };
            given.push((session, hidden(&mut random, rows as usize, WIDTH as usize), want));
        }
        let runs: Vec<SessionRows<'_>> = given
            .iter()
            .map(|(session, rows, want)| SessionRows {
                session: *session,
                position: 0,
                rows,
                want: Some(*want),
            })
            .collect();
        let submitted = gpu.submit(&runs).await.unwrap();
        let got = gpu.collect(submitted).await.unwrap();
        assert_eq!(got.len(), given.len());
        for ((session, rows, want), got) in given.iter().zip(got) {
            reference.restart();
            let left = reference.forward(0..1, 0, rows);
            let last = &left[left.len() - WIDTH as usize..];
            let logits = head.logits(&config, &reference.tables, last).remove(0);
            let place = u32::try_from(rows.len()).unwrap() / WIDTH;
            let expected = match want {
                OutputRequest::Token(sampling) => Output::Token(sample(&logits, sampling, place)),
                OutputRequest::Logits | OutputRequest::Nothing => Output::Logits(logits),
            };
            assert_eq!(got, expected, "turn {turn}, session {session}, {want:?}");
        }
    }
    (0..SESSIONS).for_each(|session| gpu.close_session(session));
}
