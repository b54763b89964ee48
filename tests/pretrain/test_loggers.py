"""Loggers, for real where their packages are installed: what a service is told, and how a resumed run goes on there."""

import sys

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from logfm.errors import UserError
from logfm.pretrain import pretrain
from logfm.pretrain.loggers import RUN_ID, build_logger
from logfm.pretrain.module import MaskedLanguageModel


class Killed(Exception):
    """What ends a run in these tests as a kill would."""


def run_killed_and_resumed(config, monkeypatch, end=lambda: None):
    """Train 20 steps, killed at the 15th and resumed at the 10th; the service's id of the run."""
    original = MaskedLanguageModel.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 15:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedLanguageModel, "training_step", killed)
        with pytest.raises(Killed):
            pretrain(config)
    end()
    pretrain(config)
    return (config.out / "run" / RUN_ID).read_text()


def test_tensorboard_is_the_default_and_none_is_none(configure, tmp_path):
    assert isinstance(build_logger(configure(tmp_path), tmp_path), TensorBoardLogger)
    assert build_logger(configure(tmp_path, train={"logger": "none"}), tmp_path) is False


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_names_its_extra(configure, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"logfm\[{name}\]"):
        build_logger(configure(tmp_path, train={"logger": name}), tmp_path)


def test_a_run_without_a_logger_keeps_its_history(configure, tmp_path):
    pretrain(configure(tmp_path, train={"steps": 10, "logger": "none"}))
    assert (tmp_path / "run" / "history.jsonl").exists() and not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.filterwarnings("default")
def test_mlflow_has_one_run_of_a_killed_and_resumed_one(configure, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set"):
        build_logger(configure(tmp_path, train={"logger": "mlflow"}), tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    run_id = run_killed_and_resumed(configure(tmp_path, train={"steps": 20, "logger": "mlflow"}), monkeypatch)
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("logfm")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == run_id and run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run_id, "train_loss")] == [9, 19]
    assert client.get_metric_history(run_id, "validation_loss")[-1].value > 0
    assert run.data.params["train/learning_rate"] == "0.01" and "out" not in run.data.params


@pytest.mark.filterwarnings("default")
def test_wandb_writes_offline(configure, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_id = run_killed_and_resumed(
        configure(tmp_path, train={"steps": 20, "logger": "wandb"}), monkeypatch, wandb.finish
    )
    assert wandb.run is None
    written = list((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(written) == 2
    content = b"".join(path.read_bytes() for path in written)
    assert all(name in content for name in (b"train_loss", b"validation_loss", b"model_flop_utilisation"))
    assert str(tmp_path / "corpus").encode() not in content
