from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "apps.routing"
    label = "routing"
    verbose_name = "Routing"

    def ready(self) -> None:
        # Here, because models must be loaded first.
        from apps.routing.decision_log import DecisionWatcher
        from apps.usage.watching import watch_commits

        watch_commits(DecisionWatcher())
