"""Batch norms whose statistics are those of all processes' pictures: --sync_norm."""

from __future__ import annotations

from torch import nn

from models.backbones.contract import BackboneError
from models.backbones.timm_adapter import TimmBackbone, import_timm
from models.ctrbox import CTRBOX
from models.freezing import batch_norms

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_norms(network: CTRBOX) -> CTRBOX:
    """The network with `torch.nn.SyncBatchNorm` in the place of its batch norms; parameters and names stay.

    A norm of timm's may hold its activation as well, which torch's own conversion would lose; timm's keeps it.

    Raises:
        BackboneError: a batch norm of another kind, which may do more than torch's and would lose it.
    """
    if isinstance(network.base_network, TimmBackbone):
        return import_timm().layers.convert_sync_batchnorm(network)
    other = {type(norm).__name__ for norm in batch_norms(network) if type(norm) not in _PLAIN}
    if other:
        raise BackboneError(
            f"--sync_norm knows torch's batch norms; the backbone has another, {', '.join(sorted(other))}: leave it out"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)
