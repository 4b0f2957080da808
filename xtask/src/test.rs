//! `cargo xtask test`: runs the steps, times them, and closes with what the runners reported.
//!
//! A failed step does not stop the others: one run tells everything that is wrong.

use std::time::{Duration, Instant};

use crate::command::{Failure, Outcome};
use crate::count::Count;
use crate::steps::{Prepared, STEPS, Step};

/// Runs the steps that the arguments leave.
pub(crate) fn test(arguments: &[String]) -> Outcome {
    let steps = chosen(arguments)?;
    let started = Instant::now();
    let mut prepared = Prepared::for_steps(&steps);
    let mut total = Count::default();
    let (mut closing, mut verdicts) = (Vec::new(), Vec::new());
    for step in steps {
        println!("\n== {} ({})", step.heading, step.name);
        let step_started = Instant::now();
        let (verdict, good) = match step.run(&mut prepared) {
            Ok(report) => {
                total += report.count;
                closing.extend(report.closing);
                match report.skipped {
                    Some(why) => (format!("skipped: {why}"), true),
                    None if report.count.failed > 0 => {
                        (format!("FAILED: {} tests failed", report.count.failed), false)
                    }
                    None => (
                        report
                            .note
                            .map_or_else(|| "ok".to_owned(), |note| format!("ok, but {note}")),
                        true,
                    ),
                }
            }
            Err(failure) => (format!("FAILED: {failure}"), false),
        };
        let took = seconds(step_started.elapsed());
        println!("== {} {took}: {verdict}", step.name);
        verdicts.push((step.name, took, verdict, good));
    }
    println!("\nAll steps, {}:", seconds(started.elapsed()));
    for (name, took, verdict, _) in &verdicts {
        println!("  {name:<12} {took:>8}  {verdict}");
    }
    println!();
    for line in &closing {
        println!("{line}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    let failed: Vec<&str> =
        verdicts.iter().filter(|verdict| !verdict.3).map(|verdict| verdict.0).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("failed: {}", failed.join(", ")),
        format!("run one alone with `cargo xtask test --only {}`", failed[0]),
    ))
}

/// `--only` and `--skip`, each any number of times.
fn chosen(arguments: &[String]) -> Outcome<Vec<Step>> {
    let (mut only, mut skip) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let list = match argument.as_str() {
            "--only" => &mut only,
            "--skip" => &mut skip,
            other => {
                return Err(Failure::new(
                    format!("unknown option {other}"),
                    "see `cargo xtask test --help`",
                ));
            }
        };
        let name = rest
            .next()
            .ok_or_else(|| Failure::new(format!("{argument} needs a step"), step_names()))?;
        if !STEPS.iter().any(|step| step.name == name) {
            return Err(Failure::new(format!("there is no step {name}"), step_names()));
        }
        list.push(name.clone());
    }
    Ok(STEPS
        .into_iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
        .filter(|step| !skip.iter().any(|name| name == step.name))
        .collect())
}

/// "the steps are a, b, c".
pub(crate) fn step_names() -> String {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    format!("the steps are {}", names.join(", "))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        chosen(&arguments)
            .map(|steps| steps.iter().map(|step| step.name).collect())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(names(&["--only", "format", "--only", "doc"]), Ok(vec!["format", "doc"]));
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert!(!names(&["--skip", "wasm"]).unwrap().contains(&"wasm"));
    }

    #[test]
    fn a_mistyped_step_is_named() {
        assert!(
            names(&["--only", "frmat"])
                .unwrap_err()
                .starts_with("there is no step frmat: the steps are format")
        );
        assert!(names(&["--only"]).is_err());
        assert!(names(&["--all"]).is_err());
    }
}
