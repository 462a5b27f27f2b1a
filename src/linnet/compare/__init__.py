"""The head-to-head: linnet and other runtimes on one network, with verified outputs.

After the study of Prylipko (2017): the mean time per image over batch sizes. Every runtime has an
environment and a process of its own; `network` writes the model for all of them, `environments`
installs them, `bench` measures a cell and `run` all of them, `report` prints.

To add a runtime, add one file to `adapters`. It holds ENVIRONMENT (how to install it),
CONFIGURATIONS (row name -> what it is, and options), ON_BLAS if it can compute with any BLAS (see
`runtimes.Runtime`) and, or in the file that ADAPTER names,

    class Adapter:
        library: str  # what computes: "OpenBLAS", "oneDNN", ...; in float32, but for rows in int8
        version: str  # optional: if it is not the module's __version__
        def __init__(self, module, threads, options)  # module: the runtime's, imported
        def load(self, network, batch)  # worker.Network -> function from images to the output
        def prepare(self, images)  # optional: into the runtime's own layout, outside the clock
        def write(self, network, files)  # optional: as files of its own format, at these paths

It runs in the runtime's interpreter, so it may import the standard library, NumPy and the runtime
only. load raises ValueError, naming the value, for an operator the runtime does not have.
"""
