"""The extraction network: streaming equals offline, no look into the future, latency as stated, size within bounds."""

import shutil

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja")

from training.network import CHUNK, LOOKAHEAD, Extractor, dft_matrices  # noqa: E402
from training.presets import EXTRACTORS  # noqa: E402

SAMPLES = 20 * CHUNK


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Extractor(EXTRACTORS["base"].network).eval()


@pytest.fixture(scope="module")
def scene(network):
    torch.manual_seed(1)
    with torch.no_grad():
        conditioning = network.conditioner(torch.nn.functional.normalize(torch.rand(2, 256)))
    return torch.randn(2, 2, SAMPLES) * 0.1, conditioning


@torch.no_grad()
def test_streaming_equals_offline(network, scene):
    mixture, conditioning = scene
    state, outputs = network.initial_state(2), []
    for chunk in torch.nn.functional.pad(mixture, (0, CHUNK)).split(CHUNK, -1):
        output, state = network.step(chunk, conditioning, state)
        outputs.append(output)
    streamed = torch.cat(outputs, -1)[..., LOOKAHEAD : LOOKAHEAD + SAMPLES]
    torch.testing.assert_close(streamed, network(mixture, conditioning), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("changed", [5 * CHUNK, 5 * CHUNK + 77, 6 * CHUNK - 1])
def test_latency_is_at_most_192_samples_and_the_past_is_untouched(network, scene, changed):
    mixture, conditioning = scene
    other = mixture.clone()
    other[..., changed] += 1.0
    moved = (network(mixture, conditioning) - network(other, conditioning)).abs().amax((0, 1))
    first = int(torch.nonzero(moved > 1e-7)[0])
    assert changed - (CHUNK + LOOKAHEAD) < first <= changed
    # The chunk that holds the change completes at its end: everything earlier than its lookahead is already played.
    assert first >= changed // CHUNK * CHUNK - LOOKAHEAD


@torch.no_grad()
def test_batch_items_share_nothing(network, scene):
    mixture, conditioning = scene
    alone = network(mixture[:1], conditioning[:1])
    torch.testing.assert_close(network(mixture, conditioning)[:1], alone, atol=1e-6, rtol=0)


def test_analysis_and_synthesis_reconstruct():
    forward, inverse = dft_matrices(512)
    signal = torch.randn(64 * CHUNK)
    signal -= torch.nn.functional.avg_pool1d(signal[None, None], 513, 1, 256, count_include_pad=False)[0, 0]
    frames = torch.nn.functional.pad(signal, (512 - CHUNK, CHUNK)).unfold(0, 512, CHUNK)
    segments = frames @ forward @ inverse
    out = torch.zeros(len(signal) + CHUNK + LOOKAHEAD)
    for i, segment in enumerate(segments):
        start = i * CHUNK
        out[start : start + CHUNK + LOOKAHEAD] += segment[: len(out) - start]
    error = out[LOOKAHEAD : LOOKAHEAD + len(signal)] - signal
    # Only the mean of a frame (bin 0) is lost.
    assert error.square().mean() < 1e-2 * signal.square().mean()


def test_size_is_within_the_contract(network):
    assert sum(p.numel() for p in network.parameters()) <= 600_000
