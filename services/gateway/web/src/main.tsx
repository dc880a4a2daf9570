/** Starts the page. */

import { effect, untracked } from "@preact/signals";
import { render } from "preact";

import { recoveries, watch } from "./state/health";
import { open } from "./state/session";
import { restore } from "./state/steering";
import { takeLink } from "./state/variants";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/feedback.css";
import "./styles/layout.css";
import "./styles/steering.css";
import "./styles/chat.css";
import "./styles/cards.css";
import "./styles/views.css";
import { Shell } from "./views/shell";

restore();
effect(() => {
  void recoveries.value; // asks again whenever the platform comes back
  void untracked(open).then((isOpen) => isOpen && takeLink());
});
void watch();
render(<Shell />, document.getElementById("page")!);
