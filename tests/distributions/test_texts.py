"""The distribution over captions against enumeration, a loop over words, and its own samples."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvae_bench.backbones.text import TextDecoder, TextEncoder, TextFeatures, WordPredictor
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.concepts.captions import BLANK, Captions, PresenceCaptions
from mmvae_bench.objectives.common.staged import frozen_call

FLAGS = Schema(tuple(Attribute(name, ("no", "yes")) for name in ("bald", "grey")))
CAPTIONS = PresenceCaptions(FLAGS, opposites={}, max_words=3)
"""Three tokens, three words: 27 sequences, of which 15 have no word after a blank."""
SEQUENCES = torch.tensor(list(itertools.product(range(3), repeat=3)))


def decoder(*, word_dropout: float = 0.0, captions: Captions = CAPTIONS, norm: bool = False) -> TextDecoder:
    torch.manual_seed(0)
    num_words, hidden = len(captions.vocabulary), 4
    head: nn.Module = nn.Linear(hidden, num_words)
    if norm:
        head = nn.Sequential(nn.BatchNorm1d(hidden), head)
    words = WordPredictor(captions, embedding=3, context_size=4, hidden=hidden, head=head, word_dropout=word_dropout)
    built = TextDecoder(captions, context=nn.Linear(2, 4), words=words).double()
    for parameter in built.parameters():
        parameter.data.mul_(2.0)
    return built


def latents(num: int) -> Tensor:
    return torch.randn(num, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def cell(network: WordPredictor, x: Tensor, h: Tensor) -> Tensor:
    """A GRU's step, written out (Cho et al. 2014, as torch documents it)."""
    gru = network.cell
    reset_x, update_x, new_x = (x @ gru.weight_ih.T + gru.bias_ih).chunk(3)
    reset_h, update_h, new_h = (h @ gru.weight_hh.T + gru.bias_hh).chunk(3)
    reset, update = torch.sigmoid(reset_x + reset_h), torch.sigmoid(update_x + update_h)
    return (1 - update) * torch.tanh(new_x + reset * new_h) + update * h


def log_prob_by_hand(network: TextDecoder, z: Tensor, words: list[int]) -> Tensor:
    """One text, one word at a time."""
    context, h = network.context(z), torch.zeros(4, dtype=torch.float64)
    read, total = torch.zeros(3, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for word in words:
        h = cell(network.words, torch.cat([read, context]), h)
        scores = network.words.head(h)
        total = total + scores[word] - scores.exp().sum().log()
        if word == BLANK:
            break
        read = network.words.embedding.weight[word]
    return total


def test_the_probabilities_of_all_sequences_sum_to_one() -> None:
    z = latents(5)
    py = decoder()(z)
    probability = torch.stack([py.log_prob(row.expand(5, -1)).exp() for row in SEQUENCES])
    torch.testing.assert_close(probability.sum(0), torch.ones(5, dtype=torch.float64))
    blank = SEQUENCES == BLANK
    gap = (blank[:, :-1] & ~blank[:, 1:]).any(1)
    assert gap.sum() == 12
    assert bool((probability[gap] == 0).all())
    assert bool((probability[~gap] > 0).all())


def test_the_entropies_of_words_add_up_to_that_of_the_text() -> None:
    """The chain rule, over all 27 sequences."""
    z = latents(5)
    py = decoder()(z)
    log_prob = torch.stack([py.log_prob(row.expand(5, -1)) for row in SEQUENCES])
    each = torch.stack([py.word_entropies(row.expand(5, -1)) for row in SEQUENCES])
    entropy = torch.special.entr(log_prob.exp()).sum(0)
    torch.testing.assert_close((log_prob.exp() * each.sum(-1)).sum(0), entropy)
    # The first word's is the same whatever the text; after the first blank there is nothing to be unsure of.
    first = torch.stack([log_prob[SEQUENCES[:, 0] == word].exp().sum(0) for word in range(3)])
    torch.testing.assert_close(each[:, :, 0], torch.special.entr(first).sum(0).expand(27, -1))
    ended = (SEQUENCES[:, :-1] == BLANK).cumsum(-1) > 0
    assert bool((each[:, :, 1:].transpose(1, 2)[ended] == 0).all())
    assert bool((each[:, :, 1:].transpose(1, 2)[~ended] > 0).all())
    assert py.word_entropies(SEQUENCES[:, None]).shape == (27, 5, 3)


def test_log_prob_and_its_gradient_against_a_loop() -> None:
    network, z = decoder(), latents(4)
    texts = [[1, 2, 1], [2, 0, 0], [0, 0, 0], [1, 1, 0]]
    mine = network(z).log_prob(torch.tensor(texts))
    other = torch.stack([log_prob_by_hand(network, row, text) for row, text in zip(z, texts, strict=True)])
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    parameters = list(network.parameters())
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    for name, first, second in zip(
        dict(network.named_parameters()),
        torch.autograd.grad(weights @ mine, parameters),
        torch.autograd.grad(weights @ other, parameters),
        strict=True,
    ):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-10, msg=name)
        assert bool(first.abs().max() > 0), name


def test_leading_dimensions_are_broadcast() -> None:
    network, z = decoder(), latents(4)
    py, texts = network(z), torch.tensor([[1, 2, 0], [2, 2, 2], [0, 0, 0]])
    table = py.log_prob(texts[:, None])
    assert table.shape == (3, 4)
    for i, text in enumerate(texts):
        torch.testing.assert_close(table[i], py.log_prob(text.expand(4, -1)))


def test_greedy_decoding_takes_the_best_word_each_time() -> None:
    network, z = decoder(), latents(40)
    expected = []
    for row in z:
        words: list[int] = []
        for _ in range(3):
            candidates = [[*words, word] for word in range(3)]
            scores = [log_prob_by_hand(network, row, each).item() for each in candidates]
            words = candidates[scores.index(max(scores))]
            if words[-1] == BLANK:
                break
        expected.append(words + [BLANK] * (3 - len(words)))
    mode = network(z).mode
    assert mode.tolist() == expected
    assert len(mode.unique(dim=0)) > 2, "some texts differ, or nothing was compared"


def test_samples_come_as_often_as_they_are_probable() -> None:
    network, z = decoder(), latents(2)
    py, num_samples = network(z), 20_000
    torch.manual_seed(3)
    samples = py.sample((num_samples,))
    assert samples.shape == (num_samples, 2, 3)
    for row in SEQUENCES:
        probability = py.log_prob(row.expand(2, -1)).exp()
        frequency = (samples == row).all(-1).double().mean(0)
        deviation = (probability * (1 - probability) / num_samples).sqrt()
        assert bool(((frequency - probability).abs() <= 5 * deviation).all()), row


def test_words_are_dropped_in_training_alone() -> None:
    network, z = decoder(word_dropout=0.5), latents(3)
    text = torch.tensor([[1, 2, 1]]).expand(3, -1)
    drawn = torch.stack([network.train()(z).log_prob(text) for _ in range(60)])
    # Of the two words before, each is there or not.
    assert all(len(column.detach().unique()) == 4 for column in drawn.unbind(1))
    network.eval()
    torch.testing.assert_close(network(z).log_prob(text), decoder()(z).log_prob(text))


def test_a_frozen_call_reaches_neither_parameters_nor_statistics() -> None:
    """The distribution calls its network after the forward pass: with the parameters of the call, not the module's."""
    network, z = decoder(norm=True).train(), latents(6).requires_grad_()
    text = SEQUENCES[[13, 14, 22, 26, 3 * 3, 0]]
    before = {key: value.clone() for key, value in network.named_buffers()}
    frozen_call(network, z).log_prob(text).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.named_buffers())
    assert z.grad is not None
    assert bool(z.grad.abs().sum() > 0)
    network(z).log_prob(text).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert not torch.equal(before["words.head.0.running_mean"], network.words.head[0].running_mean)


def test_tokens_outside_the_vocabulary_are_refused() -> None:
    py = decoder()(latents(1))
    with pytest.raises(ValueError, match="support"):
        py.log_prob(torch.tensor([[1, 3, 0]]))


def test_features_are_the_state_after_the_last_word() -> None:
    torch.manual_seed(0)
    features = TextFeatures(CAPTIONS, embedding=3, size=4).double()
    text = torch.tensor([[2, 1, 0], [1, 0, 0], [0, 0, 0]])
    read = features(text)
    gru = nn.GRU(3, 4, batch_first=True).double()
    for name, parameter in features.cell.named_parameters():
        getattr(gru, f"{name}_l0").data.copy_(parameter.data)
    _, last = gru(F.embedding(text[:1, :2], features.embedding.weight))
    torch.testing.assert_close(read[:1], last[0])
    assert bool((read[2] == 0).all())
    assert not torch.equal(read[0], features(torch.tensor([[1, 2, 0]]))[0]), "the order of words counts"


def test_a_text_encoder_gives_a_normal() -> None:
    encoder = TextEncoder(TextFeatures(CAPTIONS, embedding=3, size=4), num_features=4, sizes=(5,), latent_size=2)
    q = encoder(SEQUENCES)
    assert q.batch_shape == (27,)
    assert q.event_shape == (2,)


def test_bfloat16_leaves_texts_in_full_precision() -> None:
    network, z = decoder().float(), latents(3).float()
    text = torch.tensor([[1, 2, 0]]).expand(3, -1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(z).log_prob(text)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network(z).log_prob(text), rtol=0.05, atol=0.05)
