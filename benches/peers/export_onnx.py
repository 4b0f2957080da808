"""Writes an encoder of the BERT family (a Hugging Face folder with safetensors) as ONNX in f32: tokens to normalised mean-pooled vectors.

    export_onnx.py FOLDER FILE.onnx

The graph is the one that people export and serve: MatMul and Add, Softmax, Erf, LayerNormalization; the runtime fuses what it can.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

folder, target = Path(sys.argv[1]), sys.argv[2]
config = json.loads((folder / "config.json").read_text())
weights = {name.removeprefix("bert."): value.astype(np.float32) for name, value in load_file(folder / "model.safetensors").items()}
heads, width, eps = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
head_dim = width // heads
nodes, constants = [], {}


def constant(name, value):
    constants[name] = numpy_helper.from_array(np.asarray(value), name)
    return name


def node(kind, *inputs, **attributes):
    output = f"{kind}_{len(nodes)}"
    nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
    return output


def linear(x, name):
    matrix = constant(f"{name}.weight", weights[f"{name}.weight"].T.copy())
    return node("Add", node("MatMul", x, matrix), constant(f"{name}.bias", weights[f"{name}.bias"]))


def norm(x, name):
    gain, bias = (constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return node("LayerNormalization", x, gain, bias, axis=-1, epsilon=eps)


def split(x):
    return node("Transpose", node("Reshape", x, constant("split", [0, 0, heads, head_dim])), perm=[0, 2, 1, 3])


words = node("Gather", constant("words", weights["embeddings.word_embeddings.weight"]), "input_ids")
length = node("Gather", node("Shape", "input_ids"), constant("one", np.int64(1)))
places = node("Range", constant("from", np.int64(0)), length, constant("step", np.int64(1)))
positions = node("Gather", constant("positions", weights["embeddings.position_embeddings.weight"]), places)
kinds = constant("kind", weights["embeddings.token_type_embeddings.weight"][0])
x = norm(node("Add", node("Add", words, positions), kinds), "embeddings.LayerNorm")
mask = node("Cast", "attention_mask", to=TensorProto.FLOAT)
outside = node("Mul", node("Sub", constant("1.0", np.float32(1)), mask), constant("lowest", np.float32(-10000)))
outside = node("Unsqueeze", outside, constant("axes", np.array([1, 2])))
for index in range(config["num_hidden_layers"]):
    layer = f"encoder.layer.{index}"
    q, k, v = (split(linear(x, f"{layer}.attention.self.{part}")) for part in ("query", "key", "value"))
    scores = node("MatMul", q, node("Transpose", k, perm=[0, 1, 3, 2]))
    scores = node("Add", node("Div", scores, constant("root", np.float32(head_dim**0.5))), outside)
    mixed = node("Transpose", node("MatMul", node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    mixed = node("Reshape", mixed, constant("join", [0, 0, width]))
    x = norm(node("Add", linear(mixed, f"{layer}.attention.output.dense"), x), f"{layer}.attention.output.LayerNorm")
    inner = linear(x, f"{layer}.intermediate.dense")
    erf = node("Erf", node("Div", inner, constant("root of two", np.float32(2**0.5))))
    inner = node("Mul", node("Mul", inner, node("Add", erf, constant("1.0", np.float32(1)))), constant("half", np.float32(0.5)))
    x = norm(node("Add", linear(inner, f"{layer}.output.dense"), x), f"{layer}.output.LayerNorm")
weight = node("Unsqueeze", mask, constant("last", np.array([-1])))
total = node("ReduceSum", node("Mul", x, weight), constant("rows", np.array([1])), keepdims=0)
mean = node("Div", total, node("ReduceSum", weight, constant("rows", np.array([1])), keepdims=0))
length = node("ReduceL2", mean, constant("last", np.array([-1])), keepdims=1)
nodes.append(helper.make_node("Div", [mean, length], ["embeddings"], "embeddings"))

tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("input_ids", "attention_mask")]
vectors = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["texts", width])]
graph = helper.make_graph(nodes, "encoder", tokens, vectors, list(constants.values()))
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
onnx.checker.check_model(model)
onnx.save(model, target)
