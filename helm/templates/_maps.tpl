{{/* What a values file has emptied: `settings:` with nothing below it is null, and Helm takes null for "away with
     what the chart has there". Where nothing is a meaning, nothing is what it gets. Changes .Values. */}}
{{- define "action-agent.fillMaps" -}}
{{- range list
      "port" "routes" "scripts" "python" "settings" "extraCA" "podAnnotations" "podLabels" "extraLabels" "service"
      "networkPolicy" "autoscaling" "keda.prometheus" "keda.kafka" "env.normal" "env.secret" "secret" "podServiceAccount"
      "selfSignedCertificate.secret" "metrics.podMonitor.labels" "metrics.serviceMonitor.labels"
      "metrics.dashboard.labels" "metrics.prometheusRule.labels" "metrics.prometheusRule.ruleLabels"
      "metrics.prometheusRule.thresholds" "metrics.prometheusRule.for" "metrics.prometheusRule.severities" -}}
  {{- $map := $.Values -}}
  {{- range splitList "." . -}}
    {{- if not (kindIs "map" (index $map .)) }}{{ $_ := set $map . dict }}{{ end -}}
    {{- $map = index $map . -}}
  {{- end -}}
{{- end -}}
{{- $emptied := list -}}
{{- range list
      "image" "persistence" "tmp" "serviceAccount" "podSecurityContext" "containerSecurityContext" "strategy" "probes"
      "podDisruptionBudget" -}}
  {{- if not (kindIs "map" (index $.Values .)) }}{{ $emptied = append $emptied . }}{{ end -}}
{{- end -}}
{{- $needed := list "image.repository" "persistence.enabled" "persistence.mountPath" -}}
{{- if .Values.port.existingSecret }}{{ $needed = concat $needed (list "port.clientIdKey" "port.clientSecretKey") }}{{ end -}}
{{- if (.Values.persistence).enabled }}{{ $needed = append $needed "persistence.size" }}{{ end -}}
{{- if .Values.keda.enabled }}{{ $needed = concat $needed (list "keda.trigger" "keda.waitingRuns") }}{{ end -}}
{{- if and .Values.keda.enabled (eq (.Values.keda.trigger | default "") "kafka") -}}
  {{- range list "lagThreshold" "usernameKey" "passwordKey" "sasl" "tls" "version" -}}
    {{- $needed = append $needed (printf "keda.kafka.%s" .) -}}
  {{- end -}}
{{- end -}}
{{- range $path := $needed -}}
  {{- $value := $.Values -}}
  {{- range splitList "." $path }}{{ if kindIs "map" $value }}{{ $value = index $value . }}{{ end }}{{ end -}}
  {{- if and (kindIs "invalid" $value) (not (has (splitList "." $path | first) $emptied)) -}}
    {{- $emptied = append $emptied $path -}}
  {{- end -}}
{{- end -}}
{{- with $emptied -}}
  {{- fail (printf "nothing stands at %s, which takes away what the chart has there: leave the key out, or say what is to be" (join ", " .)) -}}
{{- end -}}
{{- end }}
