/** The tokens of an answer as text, while they arrive. */

import type { components } from "../api/schema";

type Delta = components["schemas"]["GenerationDelta"];

export interface Piece {
  id: number;
  text: string;
  /** Probability of the token under the model as steered, 0 to 1. */
  probability?: number;
}

export const bytesOf = (piece: string) =>
  Uint8Array.from(atob(piece), (character) => character.charCodeAt(0));

/** Texts of tokens; a character that spans several stands at the last of them. */
export class Pieces {
  private readonly decoder = new TextDecoder();
  private pieces: Piece[] = [];
  private length = 0;

  take(delta: Delta): void {
    this.length += delta.text.length;
    for (const [i, id] of delta.tokenIds.entries()) {
      const logprob = delta.logprobs[i];
      const bytes = bytesOf(logprob?.token?.piece ?? "");
      const text = this.decoder.decode(bytes, { stream: true });
      this.pieces = [...this.pieces, { id, text, probability: logprob && Math.exp(logprob.logprob) }];
    }
  }

  /** Those whose text has arrived: without the token that ends a turn, which is no part of the text. */
  get shown(): Piece[] {
    let end = 0;
    const count = this.pieces.findIndex((piece) => (end += piece.text.length) > this.length);
    return count < 0 ? this.pieces : this.pieces.slice(0, count);
  }
}
