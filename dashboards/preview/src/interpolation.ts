/** Variables in queries, titles and links. */
import type { DataContextScopedVar, ScopedVars } from '@grafana/data';

/** The value that stands for all of them. */
export const ALL = '$__all';

export interface Variable {
  name: string;
  label: string;
  hidden: boolean;
  multi: boolean;
  includeAll: boolean;
  /** The pattern that stands for all values; otherwise they are listed. */
  allValue?: string;
  options: string[];
  /** One value, or several of a multi-valued variable, or `$__all`. */
  selected: string[];
}

export type Format = 'promql' | 'text' | 'raw' | 'queryparam' | 'percentencode';

export interface Scope {
  variables: Variable[];
  /** Fixed texts by name, without `$`. */
  macros: Record<string, string>;
}

const REFERENCE = /\$(\w+)|\$\{([^}:]+)(?::(\w+))?\}/g;

/**
 * Replace `$name`, `${name}` and `${name:format}`; what is not known stays as it is.
 *
 * @param text with variables
 * @param scope their values
 * @param format of variables that name none
 * @param scopedVars of a data link: the value that it stands on
 */
export function interpolate(text: string, scope: Scope, format: Format, scopedVars?: ScopedVars): string {
  return text.replace(REFERENCE, (whole, plain?: string, braced?: string, named?: string) => {
    const name = plain ?? braced ?? '';
    const wanted = (named ?? format) as Format;
    const macro = scope.macros[name];
    if (macro !== undefined) {
      return macro;
    }
    const variable = scope.variables.find((one) => one.name === name);
    if (variable) {
      return formatVariable(variable, wanted) ?? whole;
    }
    const value = linkValue(name, scopedVars);
    return value === undefined ? whole : formatPlain(value, wanted);
  });
}

/** The names of the variables in a text. */
export function references(text: string): string[] {
  return [...text.matchAll(REFERENCE)].map((match) => match[1] ?? match[2] ?? '');
}

function formatVariable(variable: Variable, format: Format): string | undefined {
  const { name, selected } = variable;
  const all = selected.includes(ALL);
  switch (format) {
    case 'promql':
      return promql(variable, all);
    case 'text':
      return all ? 'All' : selected.join(' + ');
    case 'raw':
      return (all ? variable.options : selected).join(',');
    case 'percentencode':
      return percentEncode((all ? variable.options : selected).join(','));
    case 'queryparam':
      return selected.map((value) => `var-${name}=${percentEncode(value)}`).join('&');
    default:
      return undefined; // a format that is not known here: the text stays, so that it is seen
  }
}

function promql(variable: Variable, all: boolean): string {
  if (all && variable.allValue) {
    return variable.allValue;
  }
  const values = all ? variable.options : variable.selected;
  if (!variable.multi && !variable.includeAll) {
    return escapeString(values[0] ?? '');
  }
  const patterns = values.map((value) => escapeString(escapeRegex(value)));
  return patterns.length === 1 ? (patterns[0] ?? '') : `(${patterns.join('|')})`;
}

/** Within a string of PromQL in double quotes. */
function escapeString(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function escapeRegex(value: string): string {
  return value.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

export function percentEncode(value: string): string {
  return encodeURIComponent(value).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function formatPlain(value: string, format: Format): string {
  return format === 'percentencode' ? percentEncode(value) : value;
}

/** `__value.raw` and `__data.fields.NAME`: of the cell that a link is on, and of the others in its row. */
function linkValue(name: string, scopedVars?: ScopedVars): string | undefined {
  const context = (scopedVars as { __dataContext?: DataContextScopedVar } | undefined)?.__dataContext?.value;
  if (context?.rowIndex === undefined) {
    return undefined;
  }
  const wanted = /^__data\.fields\.(.+)$/.exec(name)?.[1];
  const field =
    name === '__value.raw'
      ? context.field
      : context.frame.fields.find((one) => wanted !== undefined && (one.name === wanted || one.config.displayName === wanted));
  return field ? String(field.values[context.rowIndex] ?? '') : undefined;
}
