//! Which backend an engine gets: a GPU that passes the known-answer test, else the processor.

use crate::backend::{BackendChoice, CpuBackend, Device, GpuBackend};
use crate::engine::{Engine, EngineError};
use crate::kernels::linear::CpuPath;
use crate::known_answer;

impl Engine {
    /// Finds the backend; a GPU must first reproduce the pinned known-answer test.
    ///
    /// # Errors
    /// If a GPU was asked for and none can be used.
    pub async fn new(choice: BackendChoice) -> Result<Self, EngineError> {
        Self::with_tuning(choice, None).await
    }

    /// The same with what an earlier engine on this machine [measured](Self::tuning), which saves
    /// measuring it again. What is of another adapter or version, or not a tuning at all, counts as
    /// none.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn with_tuning(
        choice: BackendChoice,
        tuning: Option<&str>,
    ) -> Result<Self, EngineError> {
        let note = match choice {
            BackendChoice::Cpu | BackendChoice::Scalar => None,
            BackendChoice::Auto | BackendChoice::Gpu => {
                match Self::with_gpu(choice, tuning).await {
                    Ok(engine) => return Ok(engine),
                    Err(reason) if choice == BackendChoice::Gpu => {
                        return Err(EngineError::NoGpu(reason));
                    }
                    Err(reason) => Some(format!("computing on the CPU: {reason}")),
                }
            }
        };
        let path =
            if choice == BackendChoice::Scalar { CpuPath::Scalar } else { CpuPath::detect() };
        let cpu = CpuBackend::new(path);
        let info = cpu.info(note);
        Ok(Self::over(Device::Cpu(Box::new(cpu)), info, false))
    }

    /// An engine on a GPU that computes rightly, or why there is none.
    async fn with_gpu(choice: BackendChoice, tuning: Option<&str>) -> Result<Self, String> {
        let gpu = GpuBackend::new(choice == BackendChoice::Gpu, tuning)
            .await
            .map_err(|error| error.to_string())?;
        let info = gpu.info();
        let adapter = info.adapter.clone();
        let may_give_way = choice == BackendChoice::Auto;
        let mut engine = Self::over(Device::Gpu(Box::new(gpu)), info, may_give_way);
        let hash = known_answer::run(&mut engine).await.map_err(|error| error.to_string())?;
        if hash != known_answer::EXPECTED {
            return Err(format!(
                "{adapter} computes wrongly (its driver fails the known-answer test)"
            ));
        }
        engine.forget_model();
        Ok(engine)
    }
}
