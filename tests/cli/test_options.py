from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import wsloc
from wsloc.cli.main import main, run_verb
from wsloc.cli.options import parse_localize
from wsloc.cli.verbs import VERBS
from wsloc.config import (
    LocalizeConfig,
)
from wsloc.config_files import OF_ONE_CALL, flatten, shipped_config, to_yaml
from wsloc.errors import UserError
from wsloc.plugins import Registry
from wsloc.registries import DATASETS, FORMATS, METHODS, SEGMENTERS, VIEWS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
GROUPS = [field for field in dataclasses.fields(LocalizeConfig) if field.name not in ("config", "preset")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def _parse(file: Path, text: str, *flags: str) -> LocalizeConfig:
    file.write_text(text, encoding="utf-8")
    return parse_localize(["--config", str(file), *flags])


def test_the_defaults_are_those_of_the_code() -> None:
    assert parse_localize([]) == LocalizeConfig()


def test_precedence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code < configs/<dataset>.yaml < --config < flags, one more layer at each step."""
    shipped = file.parent / "shipped.yaml"
    shipped.write_text("arch: vgg16\nbatch_size: 2\nseed: 2\nworking_size: 200\n")
    monkeypatch.setattr("wsloc.cli.options.shipped_config", lambda name: shipped if name == "voc" else None)
    text = "batch_size: 3\nseed: 3\n"

    def found(config: LocalizeConfig) -> tuple[object, ...]:
        return (
            config.saliency.method,
            config.classifier.arch,
            config.segmentation.working_size,
            config.compute.batch_size,
            config.compute.seed,
        )

    assert found(parse_localize(["--dataset", "demo"])) == ("gradient", "resnet50", 224, 16, 0)
    assert found(parse_localize(["--dataset", "voc"])) == ("gradient", "vgg16", 200, 2, 2)
    assert found(_parse(file, text)) == ("gradient", "resnet50", 224, 3, 3)
    assert found(_parse(file, text, "--dataset=voc")) == ("gradient", "vgg16", 200, 3, 3)
    assert found(_parse(file, text, "--dataset", "voc", "--seed", "4")) == ("gradient", "vgg16", 200, 3, 4)
    assert found(_parse(file, text + "dataset: voc\n")) == ("gradient", "vgg16", 200, 3, 3)
    assert found(_parse(file, text + "dataset: voc\n", "--dataset", "demo")) == ("gradient", "resnet50", 224, 3, 3)


def test_a_flag_is_judged_together_with_the_file(file: Path) -> None:
    """0.2 lies below the default of the background quantile, but not below the file's."""
    config = _parse(file, "background_quantile: 0.1\n", "--foreground-quantile", "0.2")
    assert config.segmentation.foreground_quantile == 0.2
    with pytest.raises(UserError, match="`background_quantile` must be below"):
        parse_localize(["--foreground-quantile", "0.2"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_file_parses(path: Path) -> None:
    config = parse_localize(["--config", str(path)])
    for key, value in (yaml.safe_load(path.read_text()) or {}).items():
        assert flatten(config)[key] == value


def test_a_file_is_shipped_for_the_demo_and_voc() -> None:
    for name in ("demo", "voc"):
        path = shipped_config(name)
        assert path is not None
        assert path in CONFIGS
    assert shipped_config("folder") is None


def _round_trip(config: LocalizeConfig, file: Path) -> None:
    kept = {key: value for key, value in flatten(config).items() if key not in OF_ONE_CALL}
    found = flatten(_parse(file, to_yaml(config)))
    assert {key: value for key, value in found.items() if key not in OF_ONE_CALL} == kept


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--dataset", "voc", "--year", "2007", "--split", "test", "--classes", "cat", "dog"],
        ["--images", "photos/**/*.jpg", "--class", "guinea pig"],
        ["--arch", "pkg.mod:make", "--mean", "0.5", "--std", "0.25", "--input-size", "64", "--activation", "sigmoid"],
        ["--mean", "0.1", "0.2", "0.3", "--weights", "a b/net.pth", "--targets", "top5", "--limit", "7"],
        ["--segmenter", "threshold", "--threshold", "0.125", "--smoothing", "0", "--seed", "-3"],
        ["--components", "all", "--component-area-fraction", "0.02"],
        ["--components", "4"],
        ["--dataset", "folder", "--root", "/data/own", "--labels", "ä.csv", "--workers", "0", "--overwrite"],
        ["--layer", "features.3", "--unit", "7"],
        ["--unit", "7", "0", "12", "--layer", "features.3"],
        ["--method", "grad-cam++", "--cam-layers", "layer3", "layer4.1", "--views", "multi-scale"],
        ["--method", "guided", "--second-method", "occlusion", "--combine", "mean", "--occlusion-fill", "blur"],
        ["--method", "occlusion", "--occlusion-patch", "10", "--occlusion-stride", "10"],
        ["--method", "rise", "--rise-masks", "10", "--rise-grid", "3", "--rise-fraction", "0.25"],
        ["--method", "score-cam", "--score-cam-channels", "9", "--integrated-steps", "5"],
        ["--method", "smoothgrad", "--smoothgrad-samples", "3", "--smoothgrad-noise", "0.5"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_the_resolved_yaml_reads_back(file: Path, flags: list[str]) -> None:
    _round_trip(parse_localize(flags), file)


@settings(max_examples=25)
@given(
    background=st.floats(0.01, 0.5),
    foreground=st.floats(0.51, 0.99),
    seed=st.integers(-(2**40), 2**40),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(lambda t: t != "None"),
)
def test_any_number_or_name_reads_back(
    tmp_path_factory: pytest.TempPathFactory, background: float, foreground: float, seed: int, name: str
) -> None:
    flags = [f"--background-quantile={background!r}", f"--foreground-quantile={foreground!r}"]
    config = parse_localize([*flags, f"--seed={seed}", f"--class={name}"])
    assert config.data.class_name == name
    _round_trip(config, tmp_path_factory.mktemp("yaml") / "my.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("metod: gradient\n", r"my\.yaml: unknown setting 'metod'; did you mean method\?$"),
        ("foreground-quantile: 0.9\n", r"unknown setting 'foreground-quantile'; did you mean foreground_quantile\?$"),
        ("xyzzy: 1\n", r"unknown setting 'xyzzy'; wsloc localize --help lists the settings\.$"),
        ("1: 2\n", r"unknown setting '1'; wsloc localize --help"),
        ("out: runs/a\n", "unknown setting 'out'"),
        ("resume: true\n", "unknown setting 'resume'"),
        (
            "method: guess\n",
            r"my\.yaml: There is no saliency method 'guess'; choose gradient, .*, rise, or package\.module:function\.$",
        ),
        ("seed: 1\nbatch_size: many\n", "Error parsing --batch-size: .*'many'"),
        ("method: {a: b}\n", "method has nested settings, but all settings must be at the top level"),
        ("dataset: no\n", "Unrecognized options: --no-dataset"),
        ("arch: [a, b]\n", "Unrecognized options: b"),
        # Judged together: neither quantile is wrong beside the other, whatever the defaults are.
        ("foreground_quantile: 0.2\nbackground_quantile: 0.1\nbatch_size: foo\n", "Error parsing --batch-size"),
        ("- method\n", r"my\.yaml must hold 'key: value' lines, not a list\.$"),
        ("just text\n", r"must hold 'key: value' lines, not a str\.$"),
        ("a: [1\n", r"my\.yaml is not valid YAML: "),
        ("limit: 0\n", "`limit` must be at least 1, not 0"),
        ("!!python/object/apply:os.getcwd []\n", "is not valid YAML: could not determine a constructor"),
    ],
)
def test_a_bad_file_is_a_users_error(file: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        _parse(file, text)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_a_users_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match=r"^The configuration .* (does not exist|cannot be read)[;:] "):
            parse_localize([f"--config={path}"])


def test_an_empty_file_changes_nothing(file: Path) -> None:
    assert dataclasses.replace(_parse(file, "# nothing\n"), config=None) == LocalizeConfig()


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--metod", "gradient"], ["--metod", "did you mean", "--method"]),
        (["--foreground-quantil", "0.9"], ["--foreground-quantil", "did you mean", "--foreground-quantile"]),
        (["--combine", "sum"], ["--combine", "sum"]),
        (["--occlusion-fill", "white"], ["--occlusion-fill", "white"]),
        (["--rise-masks", "1e3"], ["--rise-masks", "1e3"]),
        (["--unit", "seven", "--layer", "a"], ["--unit", "seven"]),
        (["--batch-size", "many"], ["--batch-size", "many"]),
        (["--config"], ["--config"]),
        (["--dataset"], ["--dataset"]),
        (["stray"], ["stray"]),
    ],
    ids=" ".join,
)
def test_bad_flags_end_with_status_2(flags: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localize", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(text in captured.err for text in shown), captured.err
    assert captured.err.startswith("wsloc: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--method", "gradcam"], "saliency method 'gradcam' (did you mean grad-cam?); choose gradient, gradient-po"),
        (["--method", "grad-cam:"], "saliency method 'grad-cam:' (did you mean grad-cam?)"),
        (["--second-method", "guess"], "saliency method 'guess'; choose gradient, "),
        (["--views", "multiscale"], "choice of views 'multiscale' (did you mean multi-scale?); choose whole, mirror"),
        (["--segmenter", "grab-cut"], "segmenter 'grab-cut' (did you mean grabcut?); choose grabcut, "),
        (["--dataset", "../voc"], "data set '../voc' (did you mean voc?); choose demo, voc, coco, "),
        (["--export", "yollo"], "export format 'yollo' (did you mean yolo?); choose coco, voc, yolo, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_name_lists_the_known_ones(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", flags) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"wsloc: There is no {sentence}")
    assert error.endswith(", or package.module:function.\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "flags",
    [
        ["--limit=0"],
        ["--targets=top0"],
        ["--targets=best"],
        ["--class=cat", "--targets=top5"],
        ["--input-size=15"],
        ["--std=0"],
        ["--layer=features.3"],
        ["--unit=7"],
        ["--unit=-1", "--layer=features.3"],
        ["--layer=features.3", "--unit=7", "--class=cat"],
        ["--layer=features.3", "--unit=7", "--targets=top5"],
        ["--smoothgrad-samples=0"],
        ["--smoothgrad-noise=0"],
        ["--smoothgrad-noise=nan"],
        ["--integrated-steps=0"],
        ["--occlusion-patch=0"],
        ["--occlusion-stride=0"],
        ["--occlusion-stride=49"],
        ["--occlusion-stride=11", "--occlusion-patch=10"],
        ["--rise-masks=0"],
        ["--rise-grid=0"],
        ["--rise-fraction=0"],
        ["--rise-fraction=1"],
        ["--rise-fraction=nan"],
        ["--score-cam-channels=0"],
        ["--background-quantile=0.96"],
        ["--background-quantile=0"],
        ["--foreground-quantile=1"],
        ["--foreground-quantile=nan"],
        ["--clamp-background-quantile=0.999"],
        ["--clamp-foreground-quantile=1.1"],
        ["--smoothing=-0.1"],
        ["--smoothing=0.3"],
        ["--working-size=31"],
        ["--working-size=5000"],
        ["--cut-iterations=0"],
        ["--threshold=1"],
        ["--threshold=nan"],
        ["--components=0"],
        ["--component-area-fraction=-0.1"],
        ["--batch-size=0"],
        ["--workers=-1"],
        ["--overlays=-1"],
        ["--checkpoint-every=0"],
        ["--resume", "--overwrite"],
    ],
    ids=" ".join,
)
def test_values_out_of_range_name_their_flag(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", flags) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("wsloc: --")
    assert captured.err.count("\n") == 1
    assert flags[0].partition("=")[0] in captured.err


@pytest.mark.parametrize(
    "flags",
    [
        ["--limit=1"],
        ["--targets=top12"],
        ["--input-size=16"],
        ["--clamp-background-quantile=0", "--clamp-foreground-quantile=1"],
        ["--smoothgrad-samples=1", "--integrated-steps=1", "--rise-masks=1", "--rise-grid=1"],
        ["--occlusion-patch=1", "--occlusion-stride=1"],
        ["--occlusion-patch=48", "--occlusion-stride=48"],
        ["--score-cam-channels=1"],
        ["--smoothing=0"],
        ["--smoothing=0.2"],
        ["--working-size=32"],
        ["--working-size=4096"],
        ["--components=1"],
        ["--components=all"],
        ["--component-area-fraction=1"],
        ["--workers=0"],
        ["--overlays=0"],
    ],
    ids=" ".join,
)
def test_the_ends_of_the_ranges_are_in(flags: list[str]) -> None:
    found = flatten(parse_localize(flags))
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        assert str(found[name.replace("-", "_")]).removesuffix(".0") == value


@pytest.mark.parametrize("registry", [DATASETS, FORMATS, METHODS, SEGMENTERS, VIEWS], ids=lambda found: found.what)
def test_every_choice_is_shown_and_can_be_imported(
    registry: Registry[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(hasattr(registry[name], registry.needs) for name in registry)
    with pytest.raises(SystemExit):
        parse_localize(["--help"])
    shown = re.sub(r"[\s│]", "", capsys.readouterr().out)
    assert f"{{{','.join(registry)}}}|MODULE:NAME" in shown


def test_a_unit_stands_where_a_class_would(file: Path) -> None:
    config = parse_localize(["--layer", "features.3", "--unit", "7", "0", "12"])
    assert config.classifier.unit == (7, 0, 12)
    assert config.data.class_name == config.classifier.unit_name == "features.3 unit 7 0 12"
    again = _parse(file, to_yaml(config))
    assert dataclasses.replace(again, config=None) == config
    # Another class in the file, or on top of it, is refused as on the command line.
    for text, flags in (("class: cat\n", ["--layer=features.3", "--unit=7"]), (to_yaml(config), ["--class=cat"])):
        with pytest.raises(UserError, match=r"^`layer` uses a unit instead of classes: leave out `class_name` and `t"):
            _parse(file, text, *flags)


def test_flag_names_are_unique_over_all_groups() -> None:
    names = [field.name for group in GROUPS for field in dataclasses.fields(group.default_factory)]  # type: ignore[arg-type]
    assert len(names) == len(set(names))
    # And the two that name files of settings.
    assert len(flatten(LocalizeConfig())) == len(names) + 2
    assert set(flatten(LocalizeConfig())) >= OF_ONE_CALL
    assert all(dataclasses.is_dataclass(get_type_hints(LocalizeConfig)[group.name]) for group in GROUPS)


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse_localize(["--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    missing = [name for name in flatten(LocalizeConfig()) if f"--{name.replace('_', '-')}" not in shown]
    assert missing == []


def test_an_unknown_verb_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localise"]) == 2
    assert capsys.readouterr().err == "wsloc: there is no verb 'localise'; did you mean localize?\n"
    assert main(["--unknown"]) == 2
    assert capsys.readouterr().err == "wsloc: there is no verb '--unknown'; wsloc --help lists the verbs.\n"


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    without = capsys.readouterr()
    assert without.out == ""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown == without.err
    assert all(f"│ {verb} " in shown for verb in VERBS)
    assert len({len(line) for line in shown.splitlines() if line.startswith("│")}) == 1


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wsloc {wsloc.__version__}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], {"train-classifier", "train-detector"}),
        (["localize", "--segm"], {"--segmenter"}),
        (["localize", "--precision", ""], {"float32", "bfloat16", "float16"}),
        (["export", "run", "--form"], {"--format"}),
    ],
)
def test_bash_completes_verbs_flags_and_choices(words: list[str], offered: set[str], tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    with script.open("w") as file, contextlib.redirect_stdout(file):
        assert main(["--completion", "bash"]) == 0
    typed = shlex.join(["wsloc", *words])
    asked = f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _tyro_wsloc"
    asked += "; printf '%s\n' ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


def test_a_flag_of_several_values_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localize", "--classes", "cat", "--classes", "dog"]) == 2
    assert capsys.readouterr().err == "wsloc: --classes is given 2 times; give all its values after one --classes.\n"


@pytest.mark.parametrize(
    ("verb", "words", "sentence"),
    [
        ("localize", "--limt 3", "Unrecognized options: --limt, 3; did you mean --limit?"),
        (
            "localize",
            "--limit x",
            "Error parsing --limit: no type matching INT could be instantiated from ['x']; wsloc localize --help "
            "lists the flags.",
        ),
        ("export", "", "missing: RUN and --format; wsloc export --help lists the flags."),
        (
            "export",
            "run --limt 3",
            "missing: --format; unrecognized options: --limt, 3; wsloc export --help lists the flags.",
        ),
        (
            "localize",
            "--precision int8",
            "invalid choice 'int8' for argument '--precision', expected one of ('float32', 'bfloat16', 'float16'); "
            "wsloc localize --help lists the flags.",
        ),
    ],
)
def test_bad_flags_are_one_sentence(verb: str, words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, *words.split()]) == 2
    assert capsys.readouterr().err == f"wsloc: {sentence}\n"


@pytest.mark.parametrize(
    "statement",
    [
        "import wsloc",
        "import wsloc.config",
        "from wsloc.cli import main; main(['--help'])",
        "from wsloc.cli import main; main(['localize', '--help'])",
        "from wsloc.cli import main; main(['localize', '--metod', 'x'])",
        "from wsloc.cli import main; main(['localize', '--method', 'x'])",
        "from wsloc.cli import main; main(['localize', '--segmenter', 'x'])",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str) -> None:
    code = (
        f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\n"
        "print('loaded:', sorted({'torch', 'torchvision', 'cv2', 'numpy', 'PIL', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stdout


def test_wsloc_alone_names_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "train-detector" in capsys.readouterr().err
