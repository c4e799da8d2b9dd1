/** A text that somebody else has chosen, without what a terminal would act upon. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "\ufffd");
}
