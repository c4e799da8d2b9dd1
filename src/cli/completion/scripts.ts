/** What shells are asked for, by their names. */
export const shells = ["bash", "zsh", "fish"] as const;

export type Shell = (typeof shells)[number];

/**
 * What a shell has to read for completion: it hands the words of the line to `collector completion
 * --words`, which answers a candidate a line.
 */
export const scripts: Readonly<Record<Shell, string>> = {
  bash: `_collector_complete() {
  local IFS=$'\\n'
  COMPREPLY=($(collector completion --words "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${COMPREPLY[0]} == */ || \${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _collector_complete collector
`,
  zsh: `#compdef collector
_collector_complete() {
  local -a found
  found=("\${(@f)$(collector completion --words "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -z "$found" ]]; then _files
  elif [[ $found[1] == */ || $found[1] == *= ]]; then compadd -S '' -a found
  else compadd -a found; fi
}
compdef _collector_complete collector
`,
  fish: `function __collector_complete
  set -l words (commandline -opc) (commandline -ct)
  collector completion --words $words[2..-1] 2>/dev/null
end
complete -c collector -f -a '(__collector_complete)'
`,
};
