"""The training mixture of LNLN (section 3.2 and its released data loader)."""

from elision.corruption.kind import Draw, Drawn, Kind, Samples
from elision.corruption.missing import half_complete_rates


class HalfComplete(Kind):
    """Training alone: any missing rate for each modality of one half of the samples; the other half is complete."""

    name = "half_complete"
    rank = 80
    training = "half of the samples are complete; the others have a rate from U(0, 1) per modality"

    def train(self, samples: Samples, draw: Draw, setting: object, options: object) -> Drawn:
        rates = half_complete_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids)
        return Drawn(rates, draw.uniforms(samples))
