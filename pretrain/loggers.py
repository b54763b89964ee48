"""Where a run's metrics go besides `history.jsonl`: TensorBoard, W&B or MLflow.

W&B and MLflow are set up by their own environment variables (WANDB_MODE, WANDB_ENTITY, MLFLOW_TRACKING_URI, ...). They
get metrics and the sections of the configuration that hold no paths; no log text, no weights.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from logfm.artifacts import write_atomic
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain.strategy import global_rank

RUN_ID = "logger-run-id"
_PROJECT = "logfm"


def build_logger(config: PretrainConfig, folder: Path) -> Logger | bool:
    """The value for `Trainer(logger=...)`; a resumed run goes on with the service's run that it began.

    Raises:
        UserError: the service's package is not installed, or MLflow's address is not set.
    """
    match config.train.logger:
        case "none":
            return False
        case "tensorboard":
            return TensorBoardLogger(folder, name=None, version="tensorboard")
        case "wandb":
            logger: Logger = _wandb(config.out, folder)
        case "mlflow":
            logger = _mlflow(folder)
    if global_rank() == 0:
        sections = {"seed", "model", "masking", "data", "train"}
        logger.log_hyperparams(config.model_dump(mode="json", include=sections))
    return logger


def finish(loggers: list[Logger]) -> None:
    """Close the run at a service that would otherwise take the next run of this process for the same."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and global_rank() == 0:
            logger.experiment.finish()


def _wandb(out: Path, folder: Path) -> Logger:
    require("wandb", "wandb")
    run = _run_id(folder, lambda: uuid.uuid4().hex)
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    return WandbLogger(project=project, save_dir=out, id=run, resume="allow")


def _mlflow(folder: Path) -> Logger:
    require("mlflow", "mlflow")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        # Its own default, files in the working directory, is one that recent versions refuse.
        raise UserError("train.logger is mlflow, and MLFLOW_TRACKING_URI is not set", fix="Set it to your server's.")
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
    options: dict[str, Any] = {"experiment_name": experiment, "tracking_uri": uri}
    run = _run_id(folder, lambda: MLFlowLogger(**options).run_id)
    return MLFlowLogger(**options, run_id=run)


def _run_id(folder: Path, create: Callable[[], str | None]) -> str | None:
    """The service's id of this run, kept beside its checkpoints; only the first rank has a run."""
    if global_rank() > 0:
        return None
    path = folder / RUN_ID
    if not path.exists():
        write_atomic(path, (create() or "").encode())
    return path.read_text() or None
