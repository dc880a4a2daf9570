/** Numbers for people. */

const MINUS = "\u2212";

export const fixed = (value: number, places = 2) =>
  value
    .toFixed(places)
    .replace(/^-(?=.*[1-9])/, MINUS)
    .replace(/^-/, "");

export const signed = (value: number, places = 2) => (value > 0 ? "+" : "") + fixed(value, places);

/** A share with two significant digits. */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0) return "0 %";
  if (value < 0.001) return "under 0.001 %";
  return `${Number(value.toPrecision(2))} %`;
}

export const whole = (value: number) => value.toLocaleString("en");

/** A q- or p-value. */
export const probability = (value: number) => (value < 0.001 ? "< 0.001" : fixed(value, 3));

export function duration(seconds: number): string {
  const all = Math.max(0, Math.round(seconds));
  return all < 60 ? `${all} s` : `${Math.floor(all / 60)} min ${String(all % 60).padStart(2, "0")} s`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(time: string | undefined): string {
  if (!time) return "";
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  if (seconds > -60) return "just now";
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86400), "day");
}

export const count = (number: number, noun: string) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
