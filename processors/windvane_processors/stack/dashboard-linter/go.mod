// Builds Grafana's own dashboard linter.
module windvane.invalid/dashboard-linter

go 1.26

require github.com/grafana/dashboard-linter v0.2.0

replace (
	// Of Grafana's core, which is under the AGPL, the linter takes the types of a schema that our dashboards are not in.
	github.com/grafana/grafana/apps/dashboard => ./grafana
	// As in the linter's own module.
	github.com/hashicorp/memberlist => github.com/grafana/memberlist v0.3.1-0.20251126142931-6f9f62ab6f86
)
