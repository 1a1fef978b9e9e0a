"""A training: an architecture on some classes of a data set at a scale, and the record that decides its weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcgmm import datasets
from dcgmm.architectures import file_name, resolve, spec_parts
from dcgmm.experiments import fingerprint, settings_check
from dcgmm.experiments.config import TRAINING_KEYS, architectures_for, settings
from dcgmm.experiments.evaluation_of_claims import MEASURED
from dcgmm.experiments.folders import collection
from dcgmm.experiments.real_images import measured

IMAGES_OF_MNIST = 60_000
SUFFIXES = {"models": "keras", "history": "csv", "repetitions": "csv", "metrics": "json"}


@dataclass(frozen=True)
class Training:
    """An architecture on some classes of a data set, at a scale.

    Args:
        architecture: a name of Table I or a specification.
        dataset: `"mnist"`, `"fashion_mnist"` or a data set of params.yaml.
        classes: `"all"`, or the labels to train on as text, such as `"0-4"` or `"0,2,7-9"`.
        scale: `"quick"` or `"paper"`.
        changes: what differs from the scale's settings, as a dict: any of its keys; `optimizer`, a Keras name, or
            `"EM"` for a flat mixture; `gmm`, the arguments of every `GMM`; `rates`, `final_rate` and `start_delay`,
            arguments of `DCGMM`; `start="k-means"`, where the lowest centroids start; `layerwise=True`, one GMM layer
            after the other, from the lowest, each for all epochs; `count_weights=True`, as in `fit`. Default: nothing.

    Raises:
        ValueError: if a name or a change is unknown, or a change has an impossible value.
    """

    architecture: str
    dataset: str
    classes: str = "all"
    scale: str = "quick"
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names."""
        if faults := settings_check.training_faults(self.architecture, self.changes):
            raise settings_check.SettingsInvalid(settings_check.message(faults, "this training"))
        settings(self.scale)
        datasets.fingerprint(self.dataset)
        try:
            labels = self.labels
        except ValueError as error:
            raise settings_check.SettingsInvalid(str(error)) from error
        if absent := set(labels) - set(has := datasets.classes(self.dataset)):
            raise settings_check.SettingsInvalid(
                f"{self.dataset} has no classes {sorted(absent)}, which are among {self.classes!r}; "
                f"it has {datasets.class_text(has)}"
            )
        if self.classes != "all":  # one text for the same classes, because it names folders
            object.__setattr__(self, "classes", datasets.class_text(self.labels))

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of the classes to train on."""
        return tuple(datasets.classes(self.dataset)) if self.classes == "all" else datasets.class_labels(self.classes)

    def record(self, repetition: int = 0) -> dict[str, Any]:
        """Return everything that decides the weights of a repetition, as a dict for JSON."""
        asked = settings(self.scale)
        return {
            "architecture": resolve(self.architecture),
            "dataset": self.dataset,
            "data": datasets.fingerprint(self.dataset),
            "classes": list(self.labels),
            "seed": asked["seed"] + repetition,
            **fingerprint.of_training(own_data=self.dataset not in datasets.DATASETS),
            **{key: asked[key] for key in TRAINING_KEYS},
            # Without a limit there is no key, so that records from before the limits existed stay valid.
            **({"images": asked["images"]} if asked.get("images") is not None else {}),
            **self._steps,
            **self.changes,
        }

    @property
    def _steps(self):
        """What keeps a few images of one's own from giving a training of a few steps: they are repeated in an epoch.

        A scale's epochs are meant for as many images as MNIST has, or as the scale's `images` says.
        """
        if self.dataset in datasets.DATASETS or "epochs" in self.changes:
            return {}
        return {"steps_as_of": settings(self.scale).get("images") or IMAGES_OF_MNIST}

    def collected(self, kind: str, results: Path | None = None) -> Path:
        """Return the path of a collected file.

        Args:
            kind: "models", "history", "repetitions" or "metrics".
            results: the folder of the results. Default: the one to write to, `folders.collection()`.
        """
        folder = (results or collection()) / self.scale / kind / self.dataset / self.classes
        return folder / f"{self.name}.{SUFFIXES[kind]}"

    @property
    def is_instance(self) -> bool:
        """Whether this is an architecture of the scale and data set, unchanged: its first weights are kept."""
        return not self.changes and self.architecture in self._instances

    @property
    def _instances(self):
        return architectures_for(self.dataset, settings(self.scale)["architectures"])

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured beside `evaluate`: the samples, and what decides statements about single instances.

        Samples are of unchanged trainings on some classes, as in Sec. III-E, and of flat mixtures by EM. With a
        classifier on top, samples without a class would be those of the same instance without it. The statements are
        about MNIST and FashionMNIST.
        """
        by_em = self.changes == {"optimizer": "EM"}
        if (self.changes and not by_em) or spec_parts(resolve(self.architecture))[-1][0] == "C":
            return ()
        samples = ("samples",) if self.classes != "all" else ()
        if by_em or self.dataset not in datasets.DATASETS:
            return samples
        return samples + MEASURED.get((self.architecture, self.classes), ())

    @property
    def repetitions(self) -> int:
        """How many repetitions the scale asks for; an ablation in params.yaml may ask for fewer."""
        asked = settings(self.scale)
        of_ablation = [
            ablation["repetitions"]
            for ablation in asked["ablations"]
            if "repetitions" in ablation
            and self.architecture in ablation["architectures"]
            and self.changes == ablation.get("changes", {})
            and self.classes == ablation.get("classes", "0-4")
        ]
        return min([asked["repetitions"], *of_ablation])

    @property
    def evaluation(self) -> dict[str, str]:
        """What decides this training's numbers; it stands beside them.

        These are the fingerprints of the code that measures, and how many samples or damaged images it takes.
        """
        keys = fingerprint.of_evaluation()
        found = {"evaluation": keys["evaluation"]}
        if "samples" in self.measures:
            found["samples"] = keys["samples"]
        if set(self.measures) - {"samples"}:
            found["claims"] = keys["claims"]
        return found | (measured(self.most) if self.measures else {})

    @property
    def most(self) -> int | None:
        """How many samples or damaged images a measure takes at most at this scale; None: as in the protocol."""
        return settings(self.scale).get("measured")

    @property
    def name(self) -> str:
        """The architecture's name and the changes, in a form that can name a file."""
        return file_name(
            " ".join([self.architecture, *(f"{key} {value}" for key, value in sorted(self.changes.items()))])
        )
