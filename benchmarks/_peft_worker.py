"""The side of PyTorch with transformers and peft: adapters on the top layers of a BERT-type encoder.

Query and value of every layer are adapted; the logit on the pooled output is frozen, as in ours. Weights come
by our names, and kernels are (inputs, outputs).
"""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from peft import LoraConfig, get_peft_model  # pyright: ignore[reportMissingImports]
from transformers import BertConfig, BertModel  # pyright: ignore[reportMissingImports]

NAMES = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
# Of the state: the part that peft adds to names.
WRAPPED = "base_model.model."


def encoder(weights, heads):
    """The layers, with our weights."""
    width, hidden = weights["layers.0.intermediate.kernel"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    config = BertConfig(
        vocab_size=8,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=hidden,
        layer_norm_eps=1e-12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config, add_pooling_layer=False).encoder
    state = {}
    for i in range(layers):
        for ours, theirs in NAMES.items():
            for part, value in (("weight", ("kernel", "scale")), ("bias", ("bias",))):
                name = next(f"layers.{i}.{ours}.{v}" for v in value if f"layers.{i}.{ours}.{v}" in weights)
                array = weights[name].T if name.endswith("kernel") else weights[name]
                state[f"layer.{i}.{theirs}.{part}"] = torch.tensor(np.ascontiguousarray(array))
    model.load_state_dict(state)
    return model


def fine_tune(hidden, mask, y, heads, lr_a, lr_b, alpha, **weights):
    """Losses of one step of Adam for each minibatch: hidden (steps, k, t, d), always from the same start."""
    rank = weights["layers.0.attention.query.lora_a"].shape[0]
    frozen = {name: value for name, value in weights.items() if "lora_" not in name}
    config = LoraConfig(r=rank, lora_alpha=int(alpha), target_modules=["query", "value"], lora_dropout=0.0)
    model = get_peft_model(encoder(frozen, int(heads)), config)
    w, c = (torch.tensor(weights[f"head.{part}"]) for part in ("kernel", "bias"))
    hidden, mask, y = torch.tensor(hidden), torch.tensor(mask), torch.tensor(y)
    far = torch.where(mask[:, :, None, None, :], 0.0, torch.finfo(torch.float32).min)
    adapters = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer, kind = name.removeprefix(WRAPPED).split(".")[1], name.split(".")[-4]
            half = "a" if "lora_A" in name else "b"
            adapters[f"layers.{layer}.attention.{kind}.lora_{half}"] = parameter

    def loss_of(i):
        states = model(hidden[i], attention_mask=far[i])[0]
        mean = (states * mask[i][:, :, None]).sum(1) / mask[i].sum(1, keepdim=True)
        logits = (mean / mean.norm(dim=1, keepdim=True)) @ w[:, 0] + c[0]
        return torch.nn.functional.softplus(-y[i] * logits).mean()

    def call():
        with torch.no_grad():
            for name, parameter in adapters.items():
                parameter.copy_(torch.tensor(weights[name]))
        halves = [[p for name, p in adapters.items() if name.endswith(end)] for end in "ab"]
        optimizer = torch.optim.Adam(
            [{"params": halves[0], "lr": float(lr_a)}, {"params": halves[1], "lr": float(lr_b)}]
        )
        losses = []
        for i in range(len(hidden)):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(i)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return {"losses": np.array(losses)}

    return call


TASKS = {"fine_tune": fine_tune}
