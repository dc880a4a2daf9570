/** Says that something does not answer, and when the page tries again. */

import { useEffect, useState } from "preact/hooks";

import { outage, watch } from "../state/health";
import { Icon } from "./icon";

/** What each service is to people, and what is missing without it. */
const SERVICES: Record<string, [string, string]> = {
  inference: ["the model", "no text can be generated or read"],
  features: ["the catalogue of features", "search, labels and variants are missing"],
  autosteer: ["auto-steer", "its jobs go on, but their progress cannot be seen"],
  keys: ["the database of keys", "nothing can be asked"],
};

const list = new Intl.ListFormat("en");

function told(services: string[]): { title: string; effect: string } {
  if (!services.length) return { title: "Hearth does not answer", effect: "It was stopped or is starting" };
  const known = services.map((service): [string, string] => SERVICES[service] ?? [service, ""]);
  const names = list.format(known.map(([name]) => name));
  const effects = known.map(([, effect]) => effect).filter(Boolean);
  return {
    title: begun(`${names} ${known.length > 1 ? "do" : "does"} not answer`),
    effect: begun(effects.join("; ")),
  };
}

const begun = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export function Outage() {
  const [now, setNow] = useState(Date.now);
  const current = outage.value;
  useEffect(() => {
    if (!current) return;
    const ticking = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(ticking);
  }, [current]);
  if (!current) return null;
  const seconds = Math.max(0, Math.ceil((current.again - now) / 1000));
  const { title, effect } = told(current.services);
  return (
    <div class="outage">
      <Icon name="alert" />
      <div class="grow" role="alert">
        <strong>{title}.</strong> {effect}. It is usually back within a minute, and the page goes on by
        itself.
      </div>
      <span class="meta">{seconds > 0 ? `trying again in ${seconds} s` : "trying…"}</span>
      <button type="button" onClick={() => void watch()}>
        Try now
      </button>
    </div>
  );
}
