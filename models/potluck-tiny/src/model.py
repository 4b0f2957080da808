"""The Llama of the model in PyTorch, in Hugging Face's layout, and how to load and save it as safetensors."""
import json
from pathlib import Path

import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save_file
from torch import nn

MATRICES = dict(q="self_attn.q_proj", k="self_attn.k_proj", v="self_attn.v_proj", o="self_attn.o_proj",
                gate="mlp.gate_proj", up="mlp.up_proj", down="mlp.down_proj")


class Tiny(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
        shapes = dict(q=(queries, hidden), k=(keys, hidden), v=(keys, hidden), o=(hidden, queries),
                      gate=(inner, hidden), up=(inner, hidden), down=(hidden, inner))
        self.embed = nn.Parameter(torch.randn(config["vocab_size"], hidden) * 0.02)
        self.norm = nn.Parameter(torch.ones(hidden))
        self.layers = nn.ModuleList()
        for _ in range(config["num_hidden_layers"]):
            layer = nn.ParameterDict()
            for name, (rows, columns) in shapes.items():
                small = (2 * config["num_hidden_layers"]) ** -0.5 if name in ("o", "down") else 1.0
                layer[name] = nn.Parameter(torch.randn(rows, columns) * columns ** -0.5 * 0.6 * small)
            layer["before_attention"], layer["before_mlp"] = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.ones(hidden))
            self.layers.append(layer)
        inverse = config["rope_theta"] ** (-torch.arange(0, head, 2) / head)
        angles = torch.outer(torch.arange(config["max_position_embeddings"]), inverse)
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def normed(self, x, gain):
        return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.config["rms_norm_eps"]).to(x.dtype) * gain

    def states(self, ids, mask=None):
        """[B, T] -> the states before the head, [B, T, hidden]. `mask` [B, 1, T, T] is true where a token may look; without one, causal."""
        batch, length = ids.shape
        head = self.config["head_dim"]
        cos, sin = self.cos[:length], self.sin[:length]

        def turned(x):                                  # x [B, heads, T, head]
            a, b = x.chunk(2, -1)
            return x * cos + torch.cat([-b, a], -1) * sin

        x = functional.embedding(ids, self.embed)
        for layer in self.layers:
            h = self.normed(x, layer["before_attention"])
            split = lambda name: functional.linear(h, layer[name]).view(batch, length, -1, head).transpose(1, 2)
            q, k, v = turned(split("q")), turned(split("k")), split("v")
            share = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
            a = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            x = x + functional.linear(a.transpose(1, 2).reshape(batch, length, -1), layer["o"])
            h = self.normed(x, layer["before_mlp"])
            x = x + functional.linear(functional.silu(functional.linear(h, layer["gate"])) * functional.linear(h, layer["up"]), layer["down"])
        return self.normed(x, self.norm)

    def forward(self, ids, mask=None):
        return functional.linear(self.states(ids, mask), self.embed)


def names(model):
    yield "model.embed_tokens.weight", model.embed
    yield "model.norm.weight", model.norm
    for i, layer in enumerate(model.layers):
        for short, long in MATRICES.items(): yield f"model.layers.{i}.{long}.weight", layer[short]
        yield f"model.layers.{i}.input_layernorm.weight", layer["before_attention"]
        yield f"model.layers.{i}.post_attention_layernorm.weight", layer["before_mlp"]


def load(folder, weights="model.safetensors"):
    model = Tiny(json.loads((Path(folder) / "config.json").read_text()))
    stored = load_file(Path(folder) / weights)
    with torch.no_grad():
        for name, parameter in names(model): parameter.copy_(stored[name].float())
    return model


def save(model, path, dtype=torch.bfloat16):
    """Tensors in the order of their names."""
    save_file({name: p.detach().to(dtype).contiguous() for name, p in sorted(names(model))}, path, {"format": "pt"})
