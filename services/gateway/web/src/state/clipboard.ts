import { toast } from "./toasts";

/** Copies a text, where the browser allows it: over plain HTTP it does only on this machine. */
export async function copy(text: string, done: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    prompt("The browser does not let the page copy. Copy this yourself:", text);
  }
}
