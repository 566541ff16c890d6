"""The terminal app: keys, meters, messages. What is heard runs in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Footer, OptionList, RichLog, Static
from textual.widgets.option_list import Option

from hearable.live.control import Status
from hearable.live.devices import WHAT, Device, Way, remember
from hearable.live.look_key import LookKey
from hearable.live.meters import marks, people_table, sound_table, stream_table
from hearable.live.recent import LOOK_S
from hearable.live.remote import RemoteControl

REFRESH_S = 0.1
STEP_DB = 3.0


class DeviceScreen(ModalScreen[int | None]):
    """Choose a device for one direction."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Keep")]
    CSS = """
    DeviceScreen { align: center middle; }
    OptionList { width: 80%; height: auto; max-height: 80%; border: round $primary; }
    """

    def __init__(self, way: Way, options: list[str]):
        super().__init__()
        self._way, self._options = way, options

    def compose(self) -> ComposeResult:
        """The list."""
        options = OptionList(*(Option(Text(text)) for text in self._options))
        options.border_title = f"{WHAT[self._way].capitalize()} (Enter to choose, Esc to keep the present one)"
        yield options

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """One was chosen."""
        self.dismiss(event.option_index)


class TerminalApp(App[str | None]):
    """Keys and meters for a ``RemoteControl``; ends with an error's text, or ``None``.

    Attributes:
        status: what is shown; ``None`` before the first.
    """

    TITLE = "hearable"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Horizontal { height: auto; }
    #people, #sound, #stream, RichLog { border: round $primary; border-title-color: $text-primary; padding: 0 1; }
    #people { width: 1fr; min-height: 8; }
    #sound { width: 2fr; min-height: 8; }
    #stream { height: auto; }
    #look { height: 1; padding: 0 2; }
    RichLog { height: 1fr; min-height: 4; background: transparent; overflow-y: auto; scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "look", "Look"),
        Binding("0", "select(0)", "Person", key_display="0-9"),
        *(Binding(str(n), f"select({n})", show=False) for n in range(1, 10)),
        Binding("b", "switch('bypass')", "Bypass"),
        Binding("plus,equals_sign", "background(1)", "Background", key_display="+/-"),
        Binding("minus", "background(-1)", show=False),
        Binding("r", "record", "Record"),
        Binding("m", "switch('mute')", "Mute"),
        Binding("d", "devices", "Devices"),
        Binding("q,ctrl+c", "quit_app", "Quit"),
    ]

    def __init__(self, control: RemoteControl):
        super().__init__()
        self._control = control
        self._look_key = LookKey()
        self.status: Status | None = None
        self._parts = {name: Static(id=name) for name in ("people", "sound", "stream", "look")}
        self._messages = RichLog(wrap=True, max_lines=200)
        self._heights: tuple[object, ...] = ()  # what the heights of the parts depend on

    def compose(self) -> ComposeResult:
        """The rows: people and levels, the stream, the look, messages."""
        with Horizontal():
            yield self._parts["people"]
            yield self._parts["sound"]
        yield self._parts["stream"]
        yield self._parts["look"]
        yield self._messages
        yield Footer(compact=True)  # all keys in 80 columns

    def on_mount(self) -> None:
        """Titles, and the refresh."""
        for name in ("people", "sound", "stream"):
            self._parts[name].border_title = name.capitalize()
        self._messages.border_title = "Messages"
        self._messages.can_focus = False  # keys are for the app
        self.set_interval(REFRESH_S, self.refresh_all)

    def refresh_all(self) -> None:
        """Take the news and draw it."""
        for news in self._control.news():
            if isinstance(news, Status):
                self.status = news
            else:
                self._write(news)
        if self._control.ended is not None:
            self.exit(self._control.ended)
        if self._look_key.tick(time.monotonic()) == "stop":
            self._control.do("look", False)
        if (status := self.status) is not None:
            self._draw(status)

    def _draw(self, status: Status) -> None:
        # Laying the screen out anew takes most of the time, and is needed only when heights change.
        engine, stream = status.engine, status.engine.stream
        timed = stream is not None and stream.timing is not None
        heights = (status.people, status.sound.fault, engine.input, engine.output, stream is None, timed)
        layout, self._heights = heights != self._heights, heights
        parts: dict[str, Table | Text] = {
            "people": people_table(status),
            "sound": sound_table(status),
            "stream": stream_table(status),
            "look": self._look_text(status),
        }
        for name, content in parts.items():
            self._parts[name].update(content, layout=layout)
        self._parts["sound"].border_subtitle = marks(status)
        if status.sound.looking_s is not None and status.sound.looking_s > LOOK_S[1]:
            self._look_key.end()  # the engine ended it

    def _look_text(self, status: Status) -> Text:
        seconds = status.sound.looking_s
        if status.enrolling:
            return Text("learning the voice ...", "bold yellow")
        if seconds is None:
            return Text("face somebody who speaks, and hold space (or press it twice) for 2 to 5 s", "dim")
        least, most = LOOK_S
        left = (
            f"{least - seconds:.1f} s more" if seconds < least else f"enough; ends in {max(0.0, most - seconds):.1f} s"
        )
        bar = "#" * min(30, round(6 * seconds))  # all of it in 80 columns
        return Text(f"looking {bar:<30} {seconds:.1f} s  {left}", "bold green" if seconds >= least else "bold yellow")

    # ---- keys

    def action_look(self) -> None:
        """Space: begin or end a look."""
        if (action := self._look_key.press(time.monotonic())) is not None:
            self._control.do("look", action == "start")

    def action_select(self, number: int) -> None:
        """A digit: that person; 0: everything."""
        people = self.status.people if self.status else ()
        if number <= len(people):
            self._control.do("select", people[number - 1] if number else None)

    def action_switch(self, what: str) -> None:
        """Bypass: everything passes, or the person again. Mute: silence, or sound again."""
        self._control.do("toggle", what)

    def action_background(self, steps: int) -> None:
        """More or less of everything else."""
        self._control.do("nudge", steps * STEP_DB)

    def action_record(self) -> None:
        """Begin or end a recording."""
        self._control.do("record")

    def action_quit_app(self) -> None:
        """End."""
        self.exit(None)

    @work(thread=True, exclusive=True)
    def action_devices(self) -> None:
        """List the devices, in a process of their own: only a fresh one sees what was plugged in, and it may crash."""
        self.call_from_thread(self._write, "looking for devices ...")
        done = subprocess.run([sys.executable, "-m", "hearable", "devices", "--json"], capture_output=True, text=True)
        if done.returncode:
            self.call_from_thread(self._write, done.stderr.strip() or "devices cannot be listed")
            return
        devices = [Device(**{**d, "defaults": tuple(d["defaults"])}) for d in json.loads(done.stdout)["devices"]]
        self.call_from_thread(self._choose_devices, devices)

    def _choose_devices(self, devices: list[Device]) -> None:
        """Microphones, then headphones; what is chosen is remembered."""
        chosen: dict[Way, Device] = {}

        def ask(way: Way, then: Callable[[], object]) -> None:
            fitting = [device for device in devices if device.channels(way) >= 2]

            def answered(index: int | None) -> None:
                if index is not None:
                    chosen[way] = fitting[index]
                then()

            self.push_screen(DeviceScreen(way, [f"{device}, {device.rate} Hz" for device in fitting]), answered)

        def done() -> None:
            if chosen:
                names = {way: str(device) for way, device in chosen.items()}
                self._control.do("devices", names.get("input"), names.get("output"))
                remember(chosen)

        ask("input", lambda: ask("output", done))

    def _write(self, text: str) -> None:
        self._messages.write(Text(f"{time.strftime('%H:%M:%S')}  {text}"))
