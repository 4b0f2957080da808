"""llama.cpp through llama-cpp-python: reads "prefill N" and "decode N" from stdin, prints the seconds each took."""
import ctypes
import os
import sys
import time

import llama_cpp as llama

path, threads = sys.argv[1], int(sys.argv[2])
# The callback must outlive the calls.
silent = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(silent, ctypes.c_void_p())
llama.llama_backend_init()
model_parameters = llama.llama_model_default_params()
# Repacked buffers are faster where they work; on processors with AMX that hide their tiles they end the process.
model_parameters.use_extra_bufts = os.environ.get("POTLUCK_PEER_REPACK", "1") == "1"
model = llama.llama_model_load_from_file(path.encode(), model_parameters)
parameters = llama.llama_context_default_params()
parameters.n_ctx, parameters.n_batch = 2048, 512
parameters.n_threads = parameters.n_threads_batch = threads
context = llama.llama_init_from_model(model, parameters)
memory = llama.llama_get_memory(context)


def decode(tokens):
    array = (llama.llama_token * len(tokens))(*tokens)
    if llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama_decode failed")
    llama.llama_synchronize(context)


print("ready", flush=True)
for line in sys.stdin:
    what, count = line.split()
    llama.llama_memory_clear(memory, True)
    if what == "prefill":
        tokens = [i * 31 % 2000 for i in range(int(count))]
        begun = time.perf_counter()
        decode(tokens)
    else:
        decode([1])
        begun = time.perf_counter()
        for i in range(int(count)):
            decode([i % 2000])
    print(time.perf_counter() - begun, flush=True)
