"""Which confirmed configurations are trained again on all rows, and how they vote."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tune_digits.config.part import Part, Positive, cite


def _as_names(value: Any) -> Any:
    """Numbers of trials are names too."""
    return [str(v) if type(v) is int else v for v in value] if isinstance(value, list) else value


class Ensemble(Part):
    """Which confirmed configurations are trained again on all rows, and how they vote."""

    top: int = Field(5, ge=1, description="members: the best confirmed configurations, at most so many")
    members: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = Field(
        None,
        min_length=1,
        description="members by name, in place of the best `top`: numbers of trials, or searched values that only one "
        "trial has, such as the name of its network",
    )
    each: bool = Field(
        False, description="write a submission of each member by itself, beside that of the vote"
    )
    prefer: Literal["choice", "confirmed", "worst_groups", "out_of_domain"] = Field(
        "choice",
        description="which of the confirmed come first; choice: the one that the search's answer sends in, then by "
        "confirmed score; confirmed: by confirmed score alone; worst_groups and out_of_domain: those that "
        "cross-validation cannot tell from its best, by the score of their worst tenth of the groups or by that on the "
        "labelled sets from elsewhere",
    )
    seeds: int = Field(1, ge=1, description="trainings of each member")
    epochs: int | None = Field(None, ge=1, description="of the retraining; none = as in the trial")
    pseudo: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.95, description="least probability of the vote that makes a test sample a pseudo-label; none = off"
    )
    pseudo_quantile: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="of the test samples with one answer, only this surest fraction becomes pseudo-labels",
    )
    pseudo_cap: int | None = Field(
        None, ge=1, description="pseudo-labels of one class at most, the surest ones; none = no limit"
    )
    pseudo_agree: bool = Field(False, description="only where every member gives the vote's answer")
    pseudo_soft: bool = Field(
        False, description="true: the label is the vote's probabilities; false: its answer alone"
    )
    pseudo_rounds: int = Field(
        1,
        ge=1,
        le=9,
        description="rounds of pseudo-labels, each from the vote of the round before; they end where the labels stay "
        "the same",
    )
    vote: Literal["auto", "soft", "hard", "weighted", "greedy", "stacked", "mixed", "rank"] = Field(
        "auto",
        description="how members' probabilities become one answer; soft: their mean; hard: the most frequent label; "
        "rank: points for each member's order of the classes; mixed: soft inside a family of networks, hard between "
        "families. Learnt from out-of-fold predictions: weighted: the weights with the least log loss; greedy: weights "
        "by repeated selection for the metric; stacked: a logistic regression. auto: greedy where its cross-fitted "
        "score is told to be better than that of soft, else soft",
        json_schema_extra=cite(
            "greedy: Caruana et al. 2004, in bags as Sun and Pfahringer 2011; stacked: Wolpert 1992; rank: Borda 1784"
        ),
    )
    force_members: bool = Field(
        False,
        description="let all of the best `top` vote; false = out-of-fold predictions leave out who makes the vote "
        "worse, and further seeds of the others take the place. Members by name always vote",
    )
    class_balance: Literal["equal"] | dict[str, Positive] | None = Field(
        None,
        description="how the classes of the test images are known to be distributed: equal, or a prior for each class; "
        "the vote is matched to it where that is told to help on out-of-fold rows; none = not known",
        json_schema_extra=cite("Saerens et al. 2002; Sinkhorn and Knopp 1967"),
    )
    force_balance: bool = Field(
        False, description="match the vote to class_balance even where that is not told to help"
    )
    class_offsets: bool = Field(
        False,
        description="raise the probabilities of rare classes as much as serves the metric best, where that is told to "
        "help on out-of-fold rows: for macro recall",
        json_schema_extra=cite("Menon et al. 2021, arXiv:2007.07314"),
    )
    tta: int = Field(
        1, ge=1, le=64, description="views per test image, the first as it is; without tta_strength 9 at most"
    )
    tta_strength: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="the views are drawn from each member's own augmentation, at this fraction of its strength; none = "
        "they are shifted by up to one pixel",
    )

    @model_validator(mode="after")
    def _views_are_there(self) -> Ensemble:
        if self.tta_strength is None and self.tta > 9:
            raise ValueError(
                f"tta {self.tta}: there are nine views shifted by up to a pixel; set tta_strength for more"
            )
        if self.tta_strength is not None and self.tta == 1:
            raise ValueError("tta_strength has no effect on one view: set tta, the number of views")
        return self

    @model_validator(mode="after")
    def _something_to_force(self) -> Ensemble:
        if self.force_balance and self.class_balance is None:
            raise ValueError(
                "force_balance has no effect without class_balance: declare one, or leave it out"
            )
        return self
