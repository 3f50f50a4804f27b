"""How a request's tokens are drawn: what the client sends, or what the model's files say for one that sends nothing."""

import dataclasses

import equinox as eqx

from jaxroof.files import FRACTION, POSITIVE, SHARE, Range
from jaxroof.parameters.arrays import Flag, Scalar
from jaxroof.parameters.leaves import leaf

WHOLE = Range(whole=True)


class Sampling(eqx.Module):
    """Sampling parameters, by their names in the OpenAI-style APIs; the defaults are those of an API without a model.

    ``temperature`` 0 is greedy. A ``top_p`` of 1, a ``top_k`` or ``min_p`` of 0, a ``repetition_penalty`` of 1 and
    further penalties of 0 do nothing and cost nothing. Only what a step has to do follows from them, not the values.

    >>> float(jaxroof.Sampling(top_p=0.9).top_p), float(jaxroof.load_architecture("llama-3.1-8b").sampling.top_p)
    (0.9, 0.9)
    """

    temperature: Scalar = leaf("temperature", default=1.0)
    top_p: Scalar = leaf("top_p", range=FRACTION, default=1.0)
    top_k: Scalar = leaf("top_k", range=WHOLE, default=0.0)
    min_p: Scalar = leaf("min_p", range=SHARE, default=0.0)
    repetition_penalty: Scalar = leaf("repetition_penalty", range=POSITIVE, default=1.0)
    presence_penalty: Scalar = leaf("presence_penalty", default=0.0)
    frequency_penalty: Scalar = leaf("frequency_penalty", default=0.0)

    @property
    def random(self) -> Flag:
        """Whether tokens are drawn; else the likeliest is taken."""
        return self.temperature > 0

    @property
    def cuts_mass(self) -> Flag:
        """Whether tokens are drawn from the likeliest by ``top_p``."""
        return self.random & (self.top_p < 1)

    @property
    def cuts_count(self) -> Flag:
        """Whether tokens are drawn from the ``top_k`` likeliest."""
        return self.random & (self.top_k > 0)

    @property
    def cuts_share(self) -> Flag:
        """Whether tokens are drawn from those with at least ``min_p`` of the likeliest one's probability."""
        return self.random & (self.min_p > 0)

    @property
    def penalises(self) -> Flag:
        """Whether the tokens that a request already has change its logits."""
        return (self.repetition_penalty != 1) | (self.presence_penalty != 0) | (self.frequency_penalty != 0)

    def given(self) -> dict[str, float]:
        """What differs from the API's defaults; the tree has no setting axis."""
        fields = dataclasses.fields(self)
        return {f.name: float(getattr(self, f.name)) for f in fields if float(getattr(self, f.name)) != f.default}
