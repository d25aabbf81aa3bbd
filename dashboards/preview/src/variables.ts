/** The variables of a dashboard: their options from Prometheus, their values from the page's address. */
import type { TimeRange } from '@grafana/data';
import type { Dashboard, VariableModel } from './dashboard';
import { ALL, interpolate, references, type Variable } from './interpolation';
import { labelValues } from './prometheus';

const LABEL_VALUES = /^label_values\(\s*(?:([\s\S]+),\s*)?(\w+)\s*\)$/;

function queryOf(model: VariableModel): string {
  return typeof model.query === 'string' ? model.query : model.query.query;
}

/** Sort as Grafana's setting says: odd up, even down, 0 as they come; numbers in texts count as numbers. */
export function sortOptions(options: string[], sort = 0): string[] {
  const sorted = sort === 0 ? [...options] : options.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return sort > 0 && sort % 2 === 0 ? sorted.reverse() : sorted;
}

/** The value that a variable has: the address's, else the dashboard's own, else the first there is. */
export function select(model: VariableModel, options: string[], asked: string[]): string[] {
  const saved = [model.current?.value ?? []].flat();
  for (const wanted of [asked, saved]) {
    if (wanted.length) {
      return model.multi ? wanted : wanted.slice(0, 1);
    }
  }
  return model.includeAll ? [ALL] : options.slice(0, 1);
}

async function optionsOf(model: VariableModel, before: Variable[], range: TimeRange, signal: AbortSignal): Promise<string[]> {
  if (model.type === 'datasource') {
    return [queryOf(model)]; // there is one, the Prometheus that is previewed
  }
  const match = model.type === 'query' ? LABEL_VALUES.exec(queryOf(model).trim()) : null;
  if (!match?.[2]) {
    throw new Error(`this variable is not known to the preview: ${model.name} (${model.type})`);
  }
  const selector = match[1] && interpolate(match[1], { variables: before, macros: {} }, 'promql');
  const span = { start: range.from.valueOf() / 1000, end: range.to.valueOf() / 1000 };
  return sortOptions(await labelValues(match[2], selector, span, signal), model.sort);
}

/** Ask for the options of each variable, in order: a later one may depend on the value of an earlier one. */
export async function loadVariables(dashboard: Dashboard, asked: URLSearchParams, range: TimeRange, signal: AbortSignal): Promise<Variable[]> {
  const loaded: Variable[] = [];
  for (const model of dashboard.templating.list) {
    const options = await optionsOf(model, loaded, range, signal);
    loaded.push({
      name: model.name,
      label: model.label ?? model.name,
      hidden: model.type === 'datasource' || Boolean(model.hide),
      multi: model.multi ?? false,
      includeAll: model.includeAll ?? false,
      ...(model.allValue ? { allValue: model.allValue } : {}),
      options,
      selected: model.type === 'datasource' ? options : select(model, options, asked.getAll(`var-${model.name}`)),
    });
  }
  return loaded;
}

/** The variables whose options depend on this one, directly or not; their values do not outlive a change of it. */
export function dependents(list: VariableModel[], name: string): string[] {
  const affected = [name];
  for (const model of list) {
    if (references(queryOf(model)).some((reference) => affected.includes(reference))) {
      affected.push(model.name);
    }
  }
  return affected.slice(1);
}
