"""``hearable corpora``: public corpora, as they were unpacked, into one data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hearable.cli.console import Json, emit, needing, progress_bar, say, table

Folder = Path | None


def corpora(
    out: Annotated[Path, typer.Option(help="Data folder to make or extend.")] = Path("data"),
    librispeech: Annotated[Folder, typer.Option(help="LibriSpeech/, with SPEAKERS.TXT.")] = None,
    wham: Annotated[Folder, typer.Option(help="wham_noise/, with tr/, cv/ and tt/.")] = None,
    cipic: Annotated[Folder, typer.Option(help="CIPIC: subject_*.sofa, or CIPIC_hrtf_database/.")] = None,
    surrey: Annotated[Folder, typer.Option(help="RealRoomBRIRs: UniS_Room_*_BRIR_16k.sofa.")] = None,
    ash: Annotated[Folder, typer.Option(help="ASH-Listening-Set-8.0/.")] = None,
    catt: Annotated[Folder, typer.Option(help="CATT_RIRs/.")] = None,
    simulate: Annotated[
        int, typer.Option(min=0, help="Also simulate so many rooms for training, and a tenth for each other split.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Bring the corpora of Look Once to Hear, with its splits, into a folder for training and evaluation.

    Speech and noise are linked, not copied; heads and rooms are converted. Rooms are simulated with the heads that are
    in the folder then; those that are there already are kept.
    """
    given = {"librispeech": librispeech, "wham": wham, "cipic": cipic, "surrey": surrey, "ash": ash, "catt": catt}
    found = {name: folder for name, folder in given.items() if folder is not None}
    if not found and not simulate:
        raise typer.BadParameter("expected at least one corpus, as --librispeech LibriSpeech, or --simulate 100")
    with needing("synthesis"):
        from hearable.synthesis import corpora as folder

    counts = folder.gather(found, out)
    if simulate:
        with progress_bar("rooms", sum(folder.room_counts(simulate).values()), not as_json) as advance:
            counts["simulated"] = folder.simulate(out, simulate, done=advance)
    if as_json:
        emit({"data": str(out), "files": counts})
        return
    table(("files", "train", "val", "test"), [(name, *map(str, split.values())) for name, split in counts.items()])
    say(f"Wrote {out}")
