/**
 * Length in bits of the code of each byte, and of the end of a string, as digits of base 36
 * (RFC 7541, appendix B). The codes follow from their lengths: shorter ones first, and among equal
 * ones by the byte.
 */
const lengths: string = [
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca",
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds",
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn",
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq",
  "u",
].join("");

const endOfString = 256;

/** A binary tree: two entries a node. Below zero is the leaf of byte `~entry`; 0 is nothing. */
const tree: Int16Array = buildTree();

/** A string that is packed with HPACK's code; undefined if it is no such string. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  let node = 0;
  // Bits since the last byte was complete, and whether all of them were 1.
  let open = 0;
  let areOnes = true;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    for (let shift = 7; shift >= 0; shift -= 1) {
      const bit = (byte >> shift) & 1;
      const next = tree[node * 2 + bit] ?? 0;
      open += 1;
      areOnes &&= bit === 1;
      if (next < 0) {
        const symbol = ~next;
        if (symbol === endOfString) return undefined;
        text += String.fromCharCode(symbol);
        node = 0;
        open = 0;
        areOnes = true;
      } else node = next;
    }
  }
  // What is left is the beginning of the end, and less than a byte of it.
  return open < 8 && areOnes ? text : undefined;
}

function buildTree(): Int16Array {
  const symbols = Array.from(lengths, (digit, symbol) => ({ symbol, length: parseInt(digit, 36) }));
  symbols.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  // A full tree has one inner node less than it has leaves.
  const nodes = new Int16Array(symbols.length * 2);
  let made = 1;
  let code = 0;
  let before = symbols[0]?.length ?? 0;
  for (const { symbol, length } of symbols) {
    code <<= length - before;
    before = length;
    let node = 0;
    for (let shift = length - 1; shift > 0; shift -= 1) {
      const entry = node * 2 + ((code >> shift) & 1);
      if (nodes[entry] === 0) {
        nodes[entry] = made;
        made += 1;
      }
      node = nodes[entry] ?? 0;
    }
    nodes[node * 2 + (code & 1)] = ~symbol;
    code += 1;
  }
  return nodes;
}
