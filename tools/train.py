"""Phase train: data -> network -> checkpoints, validated by polygon mAP."""

from __future__ import annotations

import math
import shlex
import time
from contextlib import ExitStack
from pathlib import Path

import torch

from datasets.loader import Batch, blank_batch_of
from datasets.picture_files.images import ImageError
from DOTA_devkit.metrics import format_table
from tools.config import Config, with_settings
from tools.own_backbone import run_named_file
from tools.run_folder import BEST, LAST
from tools.running.folder_lock import locked
from tools.running.messages import report_problems, warn
from tools.running.progress import progress_bar
from tools.running.ranks import is_main_process
from tools.running.stop_request import StopRequest
from tools.training.history import TIE_BREAKERS, validation_columns
from tools.training.optimizer import set_rate
from tools.training.run_state import BadSteps, Run
from tools.training.stopped_run import find_run, run_checkpoint
from tools.training.training_run import prepare
from tools.training.validation import validate

MAX_BAD_STEPS = 20  # in a row
SHOWN_EVERY = 20  # steps between TensorBoard's points


def run(config: Config) -> int:
    """Train by the settings; returns the exit code."""
    run_named_file(config)
    for name in ("data_dir", "lists"):  # test and eval find the data from any folder
        if getattr(config, name) is not None:
            config = with_settings(config, **{name: getattr(config, name).resolve()})
    with ExitStack() as stack:

        def lock(run_dir: Path) -> None:
            if is_main_process():
                stack.enter_context(locked(run_dir))

        if config.resume_train is not None:
            path = run_checkpoint(config)
            lock(path.parent)  # before it is read: another process may be about to write it
            training = prepare(*find_run(config, path))
        else:
            training = prepare(config, lock=lock)
        try:
            code = _train(training)
        finally:
            training.close()
    # Not after an error or a stop at once: to leave the group takes all processes, and the others wait elsewhere.
    if not training.stop.at_once:
        training.engine.close()
    return code


def _train(run: Run) -> int:
    if run.is_done:
        flag = "--num_epoch" if run.config.num_images is None else "--num_images"
        run.log(f"nothing left to do: the run has had its {run.schedule.num_epochs} epochs; for more give {flag}")
    start = run.progress.epoch, run.progress.step
    try:
        with StopRequest() as run.stop:
            while not run.is_over:
                _train_epoch(run)
    except KeyboardInterrupt:
        if not run.stop.at_once:  # else weights and optimiser may be of two steps; the last whole save stays
            run.save(LAST)
        run.log(f"interrupted in epoch {run.progress.epoch + 1}")
        run.log(f"go on with: python main.py --phase train --resume_train {shlex.quote(str(run.run_dir))}")
        return run.stop.exit_code
    except Exception:
        # A bad picture, a killed data worker, too many bad steps: what was learnt is not lost.
        if not run.in_step and (run.progress.epoch, run.progress.step) != start:
            run.save(LAST)
        raise
    if not run.progress.num_images:
        why = f"lower --init_lr ({run.config.init_lr}), or give --precision fp32"
        raise ValueError(f"no step was taken, since every loss or gradient was not finite: {why}")
    best, metric = run.progress.best_map, run.config.best_by
    if run.is_stale and not run.is_done:
        run.log(f"no better {metric} in {run.progress.since_best} validations (--patience); stopped")
    run.log(f"done: {run.run_dir / BEST}" + (f", {metric} {best:.4f} in validation" if best >= 0 else ""))
    return 0


def _train_epoch(run: Run) -> None:
    """One epoch (or the rest of one), its validation when due, its checkpoint."""
    config, schedule, progress, meter = run.config, run.schedule, run.progress, run.meter
    rate = _train_steps(run)
    if not meter.num_images and not run.last_terms:
        raise ValueError("none of the training pictures of an epoch can be read, so nothing is learnt")
    epoch, is_last = progress.epoch + 1, progress.epoch + 1 >= schedule.num_epochs
    row = {
        "epoch": epoch,
        "step": schedule.step_number(progress.epoch, progress.step),
        "images": progress.num_images,
        "lr": rate,
        "seconds": meter.seconds,
        "images_s": meter.speed,
        "data_wait": meter.wait_share,
        **meter.means,
    }
    losses = ", ".join(f"{name} {value:.3f}" for name, value in meter.means.items())
    line = f"epoch {epoch}/{schedule.num_epochs}: {losses}; lr {rate:.1e}, {meter.speed:.1f} images/s"
    if epoch % config.val_every == 0 or is_last:
        run.save(LAST)  # whatever ends the validation, the epoch is not lost
        line += f"; {_validate(run, row)}"
    run.log(line + (f"; {progress.skipped} steps skipped" if progress.skipped else ""))
    # Only now: a run that is stopped during its validation validates when it goes on.
    run.end_epoch()
    if run.history is not None:
        run.history.add(row)
    run.save(LAST)


def _train_steps(run: Run) -> float:
    """The steps of an epoch that are left; returns the last learning rate."""
    config, schedule, progress, meter = run.config, run.schedule, run.progress, run.meter
    sampler = run.loader.batch_sampler
    sampler.epoch, sampler.start, sampler.num_rows = progress.epoch, progress.step, schedule.images_in(progress.epoch)
    run.step.model.train()
    bar = progress_bar(
        meter.timed(iter(run.loader)),
        desc=f"epoch {progress.epoch + 1}/{schedule.num_epochs}",
        initial=progress.step,
        total=progress.step + len(sampler),
        unit="step",
    )
    # Of the last step, where all steps of the epoch are done.
    rate = schedule.rate(max(0, schedule.step_number(progress.epoch, progress.step) - 1))
    for batch in bar:
        number = schedule.step_number(progress.epoch, progress.step)
        rate = schedule.rate(number)
        set_rate(run.step.optimizer, rate)
        run.engine.seed(config.seed, number)
        stop = _take(run, batch)
        progress.step += 1
        shown = {name: f"{value:.3f}" for name, value in run.last_terms.items()}
        shown |= {"lr": f"{rate:.1e}", "images_s": f"{meter.speed:.1f}", "wait": f"{meter.wait_share:.0%}"}
        bar.set_postfix(shown, refresh=False)
        if run.history is not None and number % SHOWN_EVERY == 0:
            run.history.add_step(number, {**run.last_terms, "lr": rate, "images_s": meter.speed})
        if stop:
            raise KeyboardInterrupt
        if time.monotonic() - run.saved_at > config.save_every * 60:
            run.save(LAST)
    return rate


def _take(run: Run, batch: Batch) -> bool:
    """One step on this process's share of a batch; returns whether to stop."""
    num_images = run.schedule.images_at(run.progress.epoch, run.progress.step) - _refuse_bad_pictures(run, batch)
    if not num_images:  # on no process
        return any(run.engine.all_of(run.stop.is_requested))
    is_blank = not len(batch.rows)
    if is_blank:
        batch = blank_batch_of(run.loader.dataset)
    run.in_step = True
    result = run.step(batch.images, batch.targets, run.stop.is_requested, is_blank)
    if result.taken:
        run.average.update(run.network)
    run.in_step = False
    run.last_terms = result.terms
    if result.overflow:  # fp16's scaler looks for its scale; nothing is wrong
        return result.stop
    if not result.taken:
        _report_bad_step(run, batch)
        return result.stop
    run.bad_steps = BadSteps()
    run.progress.num_images += num_images
    run.meter.add(result.terms, num_images)
    return result.stop


def _validate(run: Run, row: dict) -> str:
    """Score the averaged network on the validation pictures and keep it if it is the best so far; returns what to log.
    The numbers go into the row."""
    started = time.perf_counter()
    run.average.catch_up(run.network)
    run.engine.copy_from_main(run.average.module)
    outcome, config = validate(run), run.config
    report_problems(outcome.problems, "validation pictures cannot be read and count as empty")
    row |= validation_columns(outcome.metrics, outcome.losses)
    if run.history is not None and outcome.page is not None:
        run.history.page(row["epoch"], outcome.page)
    metric = config.best_by
    found, other = outcome.metrics[metric], outcome.metrics[TIE_BREAKERS.get(metric, "mAP50")]
    score, second = (-1.0 if value is None else value for value in (found, other))
    progress = run.progress
    is_best = run.engine.from_main(lambda: score > progress.best_map or not (run.run_dir / BEST).exists())
    if found is not None:  # without an object to find nothing tells that training has stopped to help
        progress.since_best = 0 if is_best else progress.since_best + 1
    # Of equal ones the better by the other score, and of those that which has learnt for longer.
    if is_best or (score == progress.best_map and second >= progress.best_second):
        progress.best_map, progress.best_second = score, second
        run.save(BEST, as_best=True)
    if found is not None and (run.is_stale or progress.epoch + 1 == run.schedule.num_epochs):
        run.log(format_table(outcome.metrics))
    loss = f"in validation total {outcome.losses['total']:.3f}" if outcome.losses else "in validation no loss"
    if not math.isfinite(outcome.losses.get("total", 0.0)):
        warn(f"the loss in validation is not finite; the weights have gone astray: lower --init_lr ({config.init_lr})")
    if found is None:
        return f"{loss}, mAP50 n/a (the validation pictures hold no object)"
    others = "" if metric == "mAP50" else f"mAP50 {outcome.metrics['mAP50']:.4f}, "
    best, seconds = run.progress.best_map, time.perf_counter() - started
    return f"{loss}, {others}{metric} {score:.4f} (best {best:.4f}), {seconds:.0f} s"


def _refuse_bad_pictures(run: Run, batch: Batch) -> int:
    """Report pictures that cannot be read, of any process; returns how many. Raises ImageError, on all processes,
    unless they are to be left out."""
    engine = run.engine
    count = len(batch.problems)
    if engine.num_ranks > 1:
        count = int(engine.total(torch.tensor([count], device=engine.device)))
    if not count:
        return 0
    problems = [problem for part in engine.all_of(batch.problems) for problem in part]
    if run.config.on_bad_label == "error":
        raise ImageError(f"{problems[0]} (--on_bad_label skip leaves such pictures out)")
    report_problems(problems, "pictures left out of a batch")
    return count


def _report_bad_step(run: Run, batch: Batch) -> None:
    """Count a step that was not finite. Raises ValueError after too many in a row."""
    run.progress.skipped += 1
    own = [run.loader.dataset.samples[row].name for row in batch.rows.tolist()]
    names = [name for part in run.engine.all_of(own) for name in part]
    run.bad_steps.add(names)
    others = " (or others in mosaics with them)" if run.config.augment_mosaic else ""
    warn(f"loss or gradient not finite, step skipped; pictures{others}: {', '.join(names)}")
    bad = run.bad_steps
    if bad.count >= MAX_BAD_STEPS:
        raise ValueError(
            f"{bad.count} steps in a row were not finite; stopped. Lower --init_lr ({run.config.init_lr}), give "
            f"--precision fp32, or look at these pictures{others}: {', '.join(bad.names)}"
        )
