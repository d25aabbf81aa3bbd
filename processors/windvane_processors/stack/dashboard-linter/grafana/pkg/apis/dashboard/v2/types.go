// Package v2 lets the linter compile without Grafana's core: it has of the v2 schema what the linter names, and reads
// no JSON of it. Classic dashboards never come here.
package v2

type DashboardSpec struct {
	Title       string
	Editable    *bool
	Elements    map[string]DashboardElement
	Variables   []DashboardVariableKind
	Annotations []DashboardAnnotationQueryKind
}

type DashboardElement struct {
	PanelKind *struct{ Spec DashboardPanelSpec }
}

type DashboardPanelSpec struct {
	Id                 float64
	Title, Description string
	Data               struct {
		Spec struct{ Queries []DashboardPanelQueryKind }
	}
	VizConfig struct {
		Group string
		Spec  struct{ FieldConfig, Options any }
	}
}

type DashboardPanelQueryKind struct {
	Spec struct {
		RefId  string
		Hidden bool
		Query  DashboardDataQueryKind
	}
}

type DashboardAnnotationQueryKind struct {
	Spec struct {
		Name  string
		Query DashboardDataQueryKind
	}
}

type DashboardDataQueryKind struct {
	Group      string
	Datasource *struct{ Name *string }
	Spec       map[string]any
}

type DashboardVariableKind struct {
	QueryVariableKind      *variable[DashboardDataQueryKind]
	AdhocVariableKind      *variable[string]
	ConstantVariableKind   *variable[string]
	CustomVariableKind     *variable[string]
	DatasourceVariableKind *variable[string]
	GroupByVariableKind    *variable[string]
	IntervalVariableKind   *variable[string]
	SwitchVariableKind     *variable[string]
	TextVariableKind       *variable[string]
}

type variable[Query any] struct {
	Spec struct {
		Name, PluginId  string
		Label, AllValue *string
		Multi           bool
		Refresh         DashboardVariableRefresh
		Query           Query
	}
}

type DashboardVariableRefresh string

const (
	DashboardVariableRefreshOnDashboardLoad    DashboardVariableRefresh = "onDashboardLoad"
	DashboardVariableRefreshOnTimeRangeChanged DashboardVariableRefresh = "onTimeRangeChanged"
)
