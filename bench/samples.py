"""Profilers' samples shared out to the stages of the stream.

A sample belongs to the first stage that one of its frames names, looked at from the innermost
outwards: iterators nest, and the innermost is what runs.
"""

import json
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

SVG: Final = "{http://www.w3.org/2000/svg}"
INFERNO: Final = "{http://github.com/jonhoo/inferno}"

# Waiting for a socket looks like running native code.
WAITING: Final = r"SocketDispatcher|EPoll|Net\.poll|FileDispatcherImpl\.read"

Stages = Sequence[tuple[str, str]]

JVM: Final[Stages] = (
    ("parse", r"JsonToStructs|JacksonParser|JsonInferSchema"),
    ("predictions to JSON", r"StructsToJson|JacksonGenerator"),
    ("Kafka write", r"kafka010\.Kafka(Row)?Writ|KafkaWriteTask|kafka\.clients\.producer"),
    ("read", r"kafka010\.|kafka\.clients|kafka\.common"),
    ("Parquet", r"parquet|FileFormatWriter|FileFormatDataWriter|FileOutputCommitter"),
    ("state store", r"rocksdb|streaming\.state\.|StateStore|StateServer|StateMessage"),
    ("Arrow, JVM side", r"[Aa]rrow|PythonRunner|PythonUDFRunner|execution\.python|PythonForeach"),
    ("persist", r"InMemory|CachedBatch|columnar\.|BlockManager|MemoryStore|DiskStore"),
    ("shuffle and sort", r"[sS]huffle|Sorter|spark\.util\.collection"),
    ("expressions: rules, columns", r"GeneratedClass|catalyst\.expressions|execution\."),
)
JVM_THREADS: Final[Stages] = (
    ("JIT compiler", r"C[12] Compiler"),
    ("garbage collection", r"GC Thread|G1 |VM Thread"),
    ("tasks", r"Executor task"),
    ("Kafka write", r"kafka-producer"),
    ("Python data to and from workers", r"stdout writer|Writer for|python"),
)
PYTHON: Final[Stages] = (
    ("inference", r"onnxruntime"),
    ("features", r"model/features\.py"),
    ("around inference", r"model/(serve|forecast|champions)\.py"),
    ("state to and from bytes", r"(to_bytes|from_bytes) \(jobs/windows\.py"),
    ("windows", r"jobs/windows\.py"),
    ("operator's frames", r"jobs/window_(operator|rows)\.py"),
    ("packing", r"(jobs|model)/packed\.py"),
    ("rules", r"jobs/read_bars\.py"),
    ("state API", r"sql/streaming/"),
    ("Arrow, Python side", r"pyarrow|serializers\.py|pandas/|arrow|conversion\.py"),
    ("gc.collect between tasks", r"^manager \("),
    ("worker and imports", r"."),
)


def jvm_stages(
    recording: Path, started_s: float, ended_s: float, cpu: dict[str, float]
) -> dict[str, float]:
    """CPU seconds of the JVM by stage; `cpu` holds those of its threads as `jvm NAME`."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for name, spent in cpu.items():
        if name.startswith("jvm "):
            seconds[_first(JVM_THREADS, [name]) or "driver, scheduling, rest"] += spent
    samples = Counter(
        _first(JVM, stack) or "other in tasks"
        for stack in execution_samples(recording, started_s, ended_s)
    )
    share = seconds.pop("tasks", 0.0) / max(1, samples.total())
    for stage, count in samples.items():
        seconds[stage] += count * share
    return {f"JVM     {stage}": spent for stage, spent in seconds.items()}


def execution_samples(recording: Path, started_s: float, ended_s: float) -> Iterator[list[str]]:
    """The stacks of the task threads, innermost frame first."""
    command = ["jfr", "print", "--json", "--stack-depth", "256", "--events"]
    command += ["jdk.ExecutionSample,jdk.NativeMethodSample", str(recording)]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    for event in json.loads(printed)["recording"]["events"]:
        values = event["values"]
        thread = values["sampledThread"] or {}
        # Java prints nine digits of a second, Python reads six
        at = re.sub(r"(\.\d{6})\d*", r"\1", values["startTime"])
        in_time = started_s <= datetime.fromisoformat(at).timestamp() <= ended_s
        if in_time and "Executor task" in str(thread.get("javaName")):
            stack = [frame["method"] for frame in values["stackTrace"]["frames"]]
            frames = [f"{m['type']['name'].replace('/', '.')}.{m['name']}" for m in stack]
            # Waiting for a socket looks like running native code.
            if not re.search(
                r"SocketDispatcher|EPoll|Net\.poll|FileDispatcherImpl\.read", frames[0]
            ):
                yield frames


def python_stages(flames: Iterable[Path], cpu: dict[str, float]) -> dict[str, float]:
    """CPU seconds of the Python workers by stage, from py-spy's flame graphs."""
    samples: Counter[str] = Counter()
    for stack, count in chain.from_iterable(map(own_samples, flames)):
        samples[_first(PYTHON, stack) or "?"] += count
    share = cpu["workers"] / max(1, samples.total())
    stages = {f"Python  {stage}": count * share for stage, count in samples.items()}
    stages["Python  driver (foreachBatch)"] = cpu["driver"]
    return stages


def own_samples(flame: Path) -> Iterator[tuple[list[str], int]]:
    """Each frame's stack, innermost first, and the samples that no inner frame accounts for."""
    boxes: dict[float, list[tuple[int, int, str]]] = {}
    for group in ElementTree.parse(flame).iter(f"{SVG}g"):
        title, rect = group.findtext(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and rect is not None:
            start, width = (int(rect.attrib[f"{INFERNO}{name}"]) for name in ("x", "w"))
            boxes.setdefault(float(rect.attrib["y"]), []).append((start, width, title))
    # py-spy draws the outermost frame on top: y grows inwards
    levels = [sorted(boxes[y]) for y in sorted(boxes)]
    for depth, level in enumerate(levels):
        inner = levels[depth + 1] if depth + 1 < len(levels) else []
        for start, width, _ in level:
            covered = sum(w for s, w, _ in inner if start <= s < start + width)
            if width > covered:
                yield list(_stack(levels, depth, start)), width - covered


def _stack(levels: list[list[tuple[int, int, str]]], depth: int, start: int) -> Iterator[str]:
    for level in reversed(levels[: depth + 1]):
        yield next(title for s, w, title in level if s <= start < s + w)


def _first(stages: Stages, frames: Iterable[str]) -> str | None:
    for frame in frames:
        for stage, pattern in stages:
            if re.search(pattern, frame):
                return stage
    return None


def write_table(stages: dict[str, float], bars: int, seconds: float) -> str:
    """The stages, the largest first."""
    total = sum(stages.values())
    lines = [
        f"{bars} bars in {seconds:.1f} s: {bars / seconds:,.0f} bars/s; CPU {total:.1f} s, "
        f"{total / bars * 1e6:.0f} us a bar",
        f"{'stage':44}{'CPU s':>8}{'us/bar':>8}{'share':>8}",
    ]
    for stage, spent in sorted(stages.items(), key=itemgetter(1), reverse=True):
        share = f"{spent / total:7.1%}"
        lines.append(f"{stage:44}{spent:8.2f}{spent / bars * 1e6:8.1f}{share:>8}")
    return "\n".join(lines) + "\n"
