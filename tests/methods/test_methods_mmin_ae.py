from dataclasses import replace

import torch
from tiny_methods import SPEC, assert_counts, make, make_batch
from torch.nn import functional as F

VECTORS = replace(SPEC, text=6)


def test_parameter_counts_are_those_of_the_official_code(official_method):
    counts = {"encoders.audio": 133120, "encoders.vision": 241664, "encoders.text": 1622528}
    counts |= {"imagination": 1399556, "cycle": 1399556, "classifier": 49924, "": 4846348}
    assert_counts(official_method("mmin_ae", "iemocap"), counts)


def test_official_values_are_those_of_the_released_script(official_method):
    h = official_method("mmin_ae", "iemocap").hyperparameters
    assert (h.constant_epochs, h.decay_epochs, h.epochs) == (20, 30, 50)
    assert (h.batch_size, h.learning_rate, h.beta1, h.clip) == (256, 1e-3, 0.5, 1.0)
    assert type(h).model_fields["initialisation"].json_schema_extra == {"released": "normal"}
    assert (h.imagination_weight, h.cycle_weight, h.corruption) == (4.0, 2.0, "absent")


def test_it_classifies_the_bottleneck_and_goes_back_from_what_it_imagines():
    method, batch = make("mmin_ae").eval(), make_batch(5, spec=VECTORS, absent=("audio",))
    fused = method.encoders(batch)
    imagined, latent = method.imagination(fused)
    terms, prediction = method.loss(batch), method.predict(batch)
    assert latent.shape == (5, 256)
    torch.testing.assert_close(prediction.representation, latent)
    torch.testing.assert_close(terms["imagination"], 4 * F.mse_loss(imagined, method.missing_target(batch)))
    torch.testing.assert_close(terms["cycle"], 2 * F.mse_loss(method.cycle(imagined)[0], fused))


def test_it_cannot_imagine_negative_vectors():
    method, batch = make("mmin_ae").eval(), make_batch(5, spec=VECTORS, absent=("audio",))
    imagined, _ = method.imagination(method.encoders(batch))
    assert imagined.min() >= 0 > method.missing_target(batch).min()
