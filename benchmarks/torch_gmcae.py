"""The GMCAE written plainly in PyTorch, of both designs and both heads, and its training step.

Runs under a Python that has PyTorch and NumPy; it imports nothing of lungfish. Layers have the
names that they have in `lungfish.gmcae.network`, so that weights go from one to the other by name.

All volumes are turned round along their three axes, and so are all kernels. Keras pads a
convolution of kernel 3 and stride 2 at the end only, PyTorch alike on both sides; seen from the
other end that is PyTorch's ``padding=1``. So the same function costs no extra padding here.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.turns import serve

BLOCK = 8
VOXELS = 32**3
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
FLOOR = -math.log(700 * math.sqrt(12))
VOXELS_OUT = ("encoder_back", "decoder_ridge")
"""Layers whose outputs are the voxels of a block, and those whose inputs are; `_dense_1`: cells."""
VOXELS_IN = ("encoder_klt",)
Case = Mapping[str, Any]


class Anchored(nn.Module):
    """The anchored design with the voxel head: a linear path and a convolutional one, added."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        half, quarter, channels = case["filters"]
        for name, matrix in case["matrices"].items():
            # Turned round as the volumes are.
            self.register_buffer(name, torch.tensor(matrix).flip(0, 1).contiguous())
        self.least_error = case["least_error"]
        self.encoder_klt = nn.Linear(BLOCK**3, channels - 1)
        self.encoder_back = nn.Linear(channels - 1, BLOCK**3)
        self.encoder_error = nn.Linear(1, 1)
        self.encoder_conv_0 = nn.Conv3d(1, half, 4, 2, 1)
        self.encoder_conv_1 = nn.Conv3d(half, quarter, 4, 2, 1)
        self.encoder_conv_2 = nn.Conv3d(quarter, quarter, 4, 2, 1)
        self.encoder_added = nn.Conv3d(quarter, channels, 1)
        self.decoder_ridge = nn.Conv3d(channels, BLOCK**3, 3, padding=1)
        self.decoder_scale = nn.Linear(channels, case["components"])
        self.decoder_conv_0 = nn.ConvTranspose3d(channels, quarter, 4, 2, 1)
        self.decoder_conv_1 = nn.ConvTranspose3d(quarter, half, 4, 2, 1)
        self.decoder_conv_2 = nn.Conv3d(half, half, 3, padding=1)
        self.decoder_added = nn.ConvTranspose3d(half, case["outputs"], 4, 2, 1)

    def linear_code(self, x: Tensor) -> Tensor:
        """Return the lapped block KLT and the logarithm of its error, channels first."""
        blocks = volume_to_blocks(along_axes(self.lap, x))
        linear = self.encoder_klt(blocks)
        square = (blocks.float() - self.encoder_back(linear).float()) ** 2
        error = 0.5 * torch.log(square.mean(-1, keepdim=True) + self.least_error**2)
        return torch.cat([linear, self.encoder_error(error)], -1).permute(0, 4, 1, 2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the code, what the linear path says of the head, and what is added to it."""
        y = x
        for conv in (self.encoder_conv_0, self.encoder_conv_1, self.encoder_conv_2):
            y = functional.relu(conv(y))
        code = self.linear_code(x) + self.encoder_added(y)
        image = along_axes(self.unlap, blocks_to_volume(self.decoder_ridge(code)))
        scale = self.decoder_scale(code.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        log_sigmas = along_axes(self.spread, scale)
        y = code
        for conv in (self.decoder_conv_0, self.decoder_conv_1, self.decoder_conv_2):
            y = functional.relu(conv(y))
        nothing = torch.zeros_like(log_sigmas)
        m = log_sigmas.shape[1]
        linear = torch.cat([nothing, image.expand(-1, m, -1, -1, -1), log_sigmas], 1)
        return code, linear, self.decoder_added(y)


def along_axes(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply every line along each of the last three axes by a matrix."""
    n, c, d = x.shape[:3]
    new = len(matrix)
    x = matrix @ (x @ matrix.T)
    return (matrix @ x.reshape(n, c, d, -1)).reshape(n, c, new, new, new)


def volume_to_blocks(volume: Tensor) -> Tensor:
    """Cut volumes into blocks: (n, 1, 8 d, 8 h, 8 w) to (n, d, h, w, 512)."""
    n, _, *lengths = volume.shape
    d, h, w = (length // BLOCK for length in lengths)
    split = volume.reshape(n, d, BLOCK, h, BLOCK, w, BLOCK).permute(0, 1, 3, 5, 2, 4, 6)
    return split.reshape(n, d, h, w, BLOCK**3)


def blocks_to_volume(blocks: Tensor) -> Tensor:
    """Put blocks together: (n, 512, d, h, w) to (n, 1, 8 d, 8 h, 8 w)."""
    n, _, d, h, w = blocks.shape
    split = blocks.reshape(n, BLOCK, BLOCK, BLOCK, d, h, w).permute(0, 4, 1, 5, 2, 6, 3)
    return split.reshape(n, 1, d * BLOCK, h * BLOCK, w * BLOCK)


class Layered(nn.Module):
    """The layered design, kdsb17's."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        before = 1
        for level, width in enumerate(case["filters"]):
            self.add_module(f"encoder_conv_1-2_{level}", nn.Conv3d(before, width, 3, 1, 1))
            self.add_module(f"encoder_conv_2-1_{level}", nn.Conv3d(width, width, 3, 2, 1))
            before = width
        for level, width in enumerate(reversed(case["filters"])):
            self.add_module(
                f"decoder_conv_2-1_{level}", nn.ConvTranspose3d(before, width, 3, 2, 1, 1)
            )
            self.add_module(f"decoder_conv_1-2_{level}", nn.ConvTranspose3d(width, width, 3, 1, 1))
            before = width
        self.mu_conv3d = nn.Conv3d(before, case["outputs"], 3, padding=1)
        self.levels = range(len(case["filters"]))

    def forward(self, x: Tensor) -> tuple[Tensor, None, Tensor]:
        """Return the code, nothing linear, and the head's channels."""
        for level in self.levels:
            for name in ("1-2", "2-1"):
                x = functional.relu(self.get_submodule(f"encoder_conv_{name}_{level}")(x))
        code = x
        for level in self.levels:
            for name in ("2-1", "1-2"):
                x = functional.relu(self.get_submodule(f"decoder_conv_{name}_{level}")(x))
        return code, None, self.mu_conv3d(x)


class VoxelNats(nn.Module):
    """The voxel head and its loss in nats per voxel."""

    def forward(self, code: Tensor, linear: Tensor | None, added: Tensor, target: Tensor) -> Tensor:
        """Return the mean of -log p over all voxels, in float32."""
        output = added.float() if linear is None else added.float() + linear.float()
        logits, means, sigmas = output.chunk(3, dim=1)
        log_sigma = FLOOR + functional.softplus(sigmas - FLOOR)
        scaled = (target - means) * torch.exp(-log_sigma)
        exponents = functional.log_softmax(logits, dim=1) - log_sigma - 0.5 * scaled * scaled
        return HALF_LOG_TWO_PI - torch.logsumexp(exponents, dim=1).mean()


class PatchNats(nn.Module):
    """The patch head and its loss in nats per voxel."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        m, channels = case["components"], case["filters"][-1]
        for name, last in (("log_prior", "log_prior"), ("sigma_sq", "sigma_sq_dense_2")):
            self.add_module(f"{name}_conv3d", nn.Conv3d(channels, 1, 3, padding=1))
            self.add_module(f"{name}_dense_1", nn.Linear((32 // BLOCK) ** 3, 128))
            self.add_module(last, nn.Linear(128, m))

    def _squeeze(self, name: str, code: Tensor) -> Tensor:
        x = self.get_submodule(f"{name}_conv3d")(code).flatten(1)
        return functional.relu(self.get_submodule(f"{name}_dense_1")(x))

    def forward(self, code: Tensor, linear: Tensor | None, added: Tensor, target: Tensor) -> Tensor:
        """Return the mean of -log p over all patches, divided by their voxels, in float32."""
        log_prior = functional.log_softmax(
            self.log_prior(self._squeeze("log_prior", code)).float(), dim=1
        )
        value = self.sigma_sq_dense_2(self._squeeze("sigma_sq", code)).float()
        log_sigma = FLOOR + functional.softplus(value - FLOOR)
        scaled = (target - added.float()) * torch.exp(-log_sigma)[:, :, None, None, None]
        squares = (scaled * scaled).flatten(2).sum(-1)
        exponents = log_prior - VOXELS * (HALF_LOG_TWO_PI + log_sigma) - 0.5 * squares
        return -torch.logsumexp(exponents, dim=1).mean() / VOXELS


class Gmcae(nn.Module):
    """Network and loss in one, so that both can be compiled together."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.body = Anchored(case) if case["design"] == "anchored" else Layered(case)
        self.head = VoxelNats() if case["head"] == "voxel" else PatchNats(case)
        self.low = False

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Return the loss in nats per voxel of a batch."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.low):
            code, linear, added = self.body(x)
        return self.head(code.float(), linear, added, target)


def turned(array: NDArray[Any], axes: Sequence[int]) -> Tensor:
    """Return an array turned round along some axes."""
    return torch.from_numpy(np.flip(array, axes).copy())


def load(network: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write Keras' weights, by the names of the layers."""
    modules = {path.split(".")[-1]: module for path, module in network.named_modules()}
    for name in {key.split("/")[0] for key in weights}:
        module, kernel = modules[name], weights[f"{name}/kernel"]
        bias = weights[f"{name}/bias"]
        if name in VOXELS_OUT:  # turned round as well
            kernel, bias = kernel[..., ::-1], bias[::-1]
        if name in VOXELS_IN or name.endswith("_dense_1"):
            kernel = kernel[::-1]
        if isinstance(module, nn.Linear):
            module.weight.data.copy_(torch.from_numpy(kernel.T.copy()))
        else:  # Keras: (z, y, x, in, out); transposed (z, y, x, out, in). PyTorch wants the reverse
            module.weight.data.copy_(turned(kernel, (0, 1, 2)).permute(4, 3, 0, 1, 2))
        module.bias.data.copy_(torch.from_numpy(bias.copy()))


def prepare(folder: Path, way: str) -> tuple[Gmcae, list[tuple[Tensor, Tensor]], Case]:
    """Return the network with the weights of the case, and its batches, laid out for a way."""
    case = json.loads((folder / "case.json").read_text())
    network = Gmcae(case)
    with np.load(folder / "weights.npz") as stored:
        load(network, dict(stored))
    layout = torch.channels_last_3d if "last" in way else torch.contiguous_format
    network = network.to(memory_format=layout)
    network.low = "bfloat16" in way
    with np.load(folder / "batches.npz") as stored:
        pairs = zip(stored["inputs"], stored["targets"], strict=True)
        batches = [
            tuple(
                turned(part.reshape(-1, 1, 32, 32, 32), (2, 3, 4)).contiguous(memory_format=layout)
                for part in pair
            )
            for pair in pairs
        ]
    return network, batches, case


def training_step(
    network: Gmcae, batches: Sequence[Any], case: Case, way: str
) -> tuple[float, Callable[[int], float]]:
    """Return the loss before any update, and the function that makes one step."""
    forward = torch.compile(network) if "compiled" in way else network
    optimizer = torch.optim.Adam(
        network.parameters(), lr=case["learning_rate"], eps=1e-7, fused=True
    )
    with torch.no_grad():
        first = float(network(*batches[0]))

    def step(number: int) -> float:
        inputs, target = batches[number % len(batches)]
        rate = case["learning_rate"] * min(1.0, number / case["warmup_steps"])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = forward(inputs, target)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), case["clipnorm"])
        optimizer.step()
        return loss.item()

    return first, step


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the training steps of one case in one configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="with the case")
    parser.add_argument("--way", default="", help="words: last, bfloat16, compiled")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    serve(*training_step(*prepare(args.folder, args.way), args.way))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
