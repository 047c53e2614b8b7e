"""Command that sends results to an experiment tracker."""
