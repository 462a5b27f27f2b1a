"""Make the reference data of Keras's recurrent layers: `python tests/data/make_keras_recurrent.py`,
with the packages of make_keras.py.

`recurrent2.npz` and `recurrent3.npz` are as layers2.npz there; `recurrent2.keras` and
`recurrent3.keras` whole files of one model, of which `recurrent.npz` has the input and outputs.
"""

from __future__ import annotations

import keras
import numpy as np
import tf_keras
from make_keras import HERE, compressed, make_layers, numbers, randomize


def cases(k, version):
    layers = k.layers
    sequence = [(5, 3)]
    yield "lstm", sequence, [layers.LSTM(4)]
    yield "lstm_every", sequence, [layers.LSTM(4, return_sequences=True)]
    yield "lstm_bare", sequence, [layers.LSTM(2, use_bias=False, recurrent_activation="relu")]
    yield "lstm_hard", sequence, [layers.LSTM(3, "softsign", "hard_sigmoid", dropout=0.5)]
    yield "lstm_backwards", sequence, [layers.LSTM(4, go_backwards=True)]
    yield (
        "lstm_backwards_every",
        sequence,
        [layers.LSTM(4, go_backwards=True, return_sequences=True)],
    )
    yield "gru", sequence, [layers.GRU(4)]
    yield "gru_every", sequence, [layers.GRU(4, return_sequences=True, activation="elu")]
    yield "gru_before", sequence, [layers.GRU(4, reset_after=False, return_sequences=True)]
    yield "gru_bare", sequence, [layers.GRU(4, use_bias=False)]
    yield "simple", sequence, [layers.SimpleRNN(4)]
    yield "simple_every", sequence, [layers.SimpleRNN(4, "linear", return_sequences=True)]
    yield "both", sequence, [layers.Bidirectional(layers.LSTM(3))]
    yield "both_every", sequence, [layers.Bidirectional(layers.LSTM(3, return_sequences=True))]
    for mode in ("sum", "mul", "ave"):
        inner = layers.GRU(3, return_sequences=mode == "ave")
        yield f"both_{mode}", sequence, [layers.Bidirectional(inner, merge_mode=mode)]
    each = layers.TimeDistributed(layers.Dense(2, activation="relu"))
    yield "each_time", sequence, [layers.LSTM(3, return_sequences=True), each]
    inner = k.Sequential([layers.Input((5, 3)), layers.LSTM(3), layers.Dense(2)])
    if version == 2:
        yield "within", sequence, [inner]


def stacked(k):
    layers = k.layers
    return k.Sequential(
        [
            layers.Input((6, 3), name="sequence"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(5, return_sequences=True),
            layers.TimeDistributed(layers.Dense(4)),
            layers.LSTM(3),
            layers.Dense(2, name="scores"),
        ]
    )


def main():
    results = {"x": numbers((2, 6, 3))}
    for k, version in ((tf_keras, 2), (keras, 3)):
        make_layers(k, version, cases, "recurrent")
        k.backend.clear_session()
        model = stacked(k)
        randomize(model.layers)
        model.save(HERE / f"recurrent{version}.keras")
        compressed(HERE / f"recurrent{version}.keras")
        results[f"y{version}"] = np.asarray(model(results["x"], training=False))
    np.savez_compressed(HERE / "recurrent.npz", **results)


if __name__ == "__main__":
    main()
